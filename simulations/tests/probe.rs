use std::time::Instant;
#[test]
fn probe() {
    let name = std::env::var("SC").unwrap_or("calm".into());
    let from: u64 = std::env::var("FROM").ok().and_then(|t| t.parse().ok()).unwrap_or(1);
    let to: u64 = std::env::var("TO").ok().and_then(|t| t.parse().ok()).unwrap_or(from);
    let scenario = weft_simulations::scenario(&name).unwrap();
    for seed in from..=to {
        let t = Instant::now();
        let report = if std::env::var("SHRINK").is_ok() {
            weft_simulations::run_and_shrink(&scenario, seed)
        } else {
            weft_simulations::run(&scenario, seed)
        };
        let w = t.elapsed().as_secs_f64();
        println!(
            "{name} {seed} pass {} {:.2}s virtual {:.1} hash {}",
            report.pass,
            w,
            report.virtual_s,
            &report.trace_hash[..12]
        );
        if std::env::var("V").is_ok() {
            println!("{:?}\n{:?}", report.checks, report.faults);
        }
        for f in report.failures.iter().filter(|f| !f.starts_with("  ")) {
            println!("{}", f.chars().take(600).collect::<String>());
        }
        for f in &report.minimal {
            println!("MIN {f}");
        }
    }
}
