use weft_simulations::*;
#[test]
fn probe2() {
    use Mutation::*;
    for m in [AcknowledgeBeforeWrite, LyingDisk, DropTail, StoreUnverified, ForgetReservation, ForgetIntents, ForgetMessages, SwallowAnswers, DeafToSync, RollBackDisk, StartUnasked, DeliverTwice] {
        for s in ["calm", "crash", "skew", "lossy"] {
            let sc = scenario(s).unwrap();
            let mut line = format!("{m:?} {s}: ");
            for seed in 1..=4 {
                let r = run_mutated(&sc, seed, None, m);
                let c: Vec<_> = r.checks.iter().filter(|(_, c)| !c.ok).map(|(n, _)| *n).collect();
                line += &format!("[{} {}] ", if r.pass { "PASS" } else { "" }, if c.is_empty() && !r.pass { r.failures[0].chars().take(60).collect() } else { c.join(",") });
            }
            println!("{line}");
        }
    }
}
