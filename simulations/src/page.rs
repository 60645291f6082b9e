//! A page about runs for people: verdicts, what was checked, which faults struck, and pictures; one file that needs no network.

use std::fmt::Write as _;

use crate::report::SimReport;

mod picture;

/// Most runs that are told in full; of others the page has a line each.
const RUNS_IN_FULL: usize = 8;
/// Most lines of moments of one run.
const MOMENTS_MAX: usize = 400;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c2733;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-top:1px solid #d7dde3;padding-top:1rem}h3{font-size:1rem}\
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .9rem .15rem 0;vertical-align:top}td.n{text-align:right}\
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f4f6f8;padding:.7rem;overflow:auto}\
.pass{color:#13733b}.fail{color:#b3261e;font-weight:600}figure{margin:1rem 0}figcaption{color:#52606d}svg{max-width:100%;height:auto}\
details>summary{cursor:pointer}";

/// The page about these runs of one scenario. The pictures are SVG inside it.
///
/// # Errors
/// A picture that cannot be drawn, in words.
pub fn page(about: &str, reports: &[SimReport]) -> Result<String, String> {
    let name = reports.first().map_or("", |report| report.scenario.as_str());
    let passed = reports.iter().filter(|report| report.pass).count();
    let mut html = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html += &format!("<title>{} · simulation</title><style>{STYLE}</style></head><body>\n", escaped(name));
    html += &format!("<h1>{}</h1><p>{}</p>\n", escaped(name), escaped(about));
    html += &format!("<p>{passed} of {} runs passed.</p>\n", reports.len());
    html += &overview(reports);
    for report in shown(reports) {
        html += &section(report)?;
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

/// Those that failed before those that passed, and no more than a page can hold.
fn shown(reports: &[SimReport]) -> impl Iterator<Item = &SimReport> {
    let (failed, passed): (Vec<_>, Vec<_>) = reports.iter().partition(|report| !report.pass);
    failed.into_iter().chain(passed).take(RUNS_IN_FULL)
}

fn overview(reports: &[SimReport]) -> String {
    let mut html = String::from("<table><tr><th>seed<th>verdict<th>nodes<th>virtual time<th>wall time<th>trace</tr>\n");
    for report in reports {
        let SimReport { seed, nodes, virtual_s, wall_s, trace_hash, .. } = report;
        let _fits = writeln!(
            html,
            "<tr><td class=\"n\">{seed}<td>{}<td class=\"n\">{nodes}<td class=\"n\">{virtual_s:.1} s<td class=\"n\">{wall_s:.2} s<td><code>{}</code></tr>",
            verdict(report),
            escaped(trace_hash),
        );
    }
    html + "</table>\n"
}

fn verdict(report: &SimReport) -> &'static str {
    if report.pass { "<span class=\"pass\">pass</span>" } else { "<span class=\"fail\">FAIL</span>" }
}

fn section(report: &SimReport) -> Result<String, String> {
    let mut html = format!("<h2>Seed {}: {}</h2>\n", report.seed, verdict(report));
    html += &failure(report);
    let figure = |svg: String, caption: &str| format!("<figure>{svg}<figcaption>{caption}</figcaption></figure>\n");
    html += &figure(
        picture::agreement(report)?,
        "Different states of all chains among the nodes that run (one: all agree), nodes that run, and a line for each fault.",
    );
    html += &figure(
        picture::latencies(report)?,
        "How many in a hundred publications had reached a subscriber, and calls their asker, within so much virtual time.",
    );
    html += &figure(picture::bytes_by_node(report)?, "Bytes that each node sent.");
    html += &figure(picture::bytes_by_kind(report)?, "Bytes by what they were for.");
    html += &numbers(report);
    html += &checks(report);
    html += &timeline(report);
    Ok(html)
}

fn failure(report: &SimReport) -> String {
    if report.pass {
        return String::new();
    }
    let at = report.failed_at_us.map_or_else(
        || "<p>In the end something was missing:</p>".to_owned(),
        |at_us| format!("<p>It failed {} after the nodes had joined:</p>", seconds(at_us)),
    );
    let mut html = format!("{at}<pre>{}</pre>\n", escaped(&report.failures.join("\n")));
    if !report.minimal.is_empty() {
        html += &format!(
            "<p>The fewest steps found that make it fail:</p><pre>{}</pre>\n",
            escaped(&report.minimal.join("\n"))
        );
    }
    html
}

fn numbers(report: &SimReport) -> String {
    let ledger = &report.ledger;
    let redundant = ledger.gossip_heard.saturating_sub(ledger.gossip_new);
    let rows = [
        ("frames sent", ledger.frames.to_string()),
        ("bytes sent", ledger.bytes_by_node.iter().sum::<u64>().to_string()),
        ("copies of gossip heard", format!("{}, of which {redundant} said nothing new", ledger.gossip_heard)),
        ("until all agreed once everything was whole", ledger.convergence_us.map_or("never".to_owned(), seconds)),
        ("publications handed to subscribers", spread(&ledger.publications)),
        ("answers to calls and messages", spread(&ledger.answers)),
        ("ran as it ships", report.real.join(", ")),
        ("was replaced", report.replaced.join(", ")),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("<tr><th>{name}<td>{}</tr>", escaped(value))).collect();
    format!("<h3>In numbers</h3><table>{rows}</table>\n")
}

fn spread(latencies: &crate::ledger::Latencies) -> String {
    let crate::ledger::Latencies { count, p50_us, p99_us, max_us, .. } = latencies;
    format!("{count}; half within {p50_us} µs, 99 in 100 within {p99_us} µs, all within {max_us} µs")
}

fn checks(report: &SimReport) -> String {
    let made = report.checks.iter().map(|(name, check)| {
        let mark = match (check.ok, check.count) {
            (false, _) => "<span class=\"fail\">BROKEN</span>",
            (true, 0) => "not due",
            (true, _) => "<span class=\"pass\">held</span>",
        };
        format!("<tr><td>{name}<td>{mark}<td class=\"n\">{}</tr>", check.count)
    });
    let struck = report.faults.iter().map(|(name, count)| format!("<tr><td>{name}<td class=\"n\">{count}</tr>"));
    format!(
        "<h3>What was checked, and how often</h3><table>{}</table>\n<h3>What struck, and how often</h3><table>{}</table>\n",
        made.collect::<String>(),
        struck.collect::<String>()
    )
}

fn timeline(report: &SimReport) -> String {
    let moments = &report.ledger.moments;
    if moments.is_empty() {
        return String::new();
    }
    let rows = moments.iter().take(MOMENTS_MAX).map(|moment| {
        format!("<tr><td class=\"n\">{}<td><code>{}</code></tr>", seconds(moment.at_us), escaped(&moment.what))
    });
    let left = moments.len().saturating_sub(MOMENTS_MAX);
    let more = if left == 0 { String::new() } else { format!("<p>And {left} more.</p>") };
    format!(
        "<details><summary>What happened from outside ({})</summary><table>{}</table>{more}</details>\n",
        moments.len(),
        rows.collect::<String>()
    )
}

fn seconds(at_us: u64) -> String {
    format!("{:.3} s", std::time::Duration::from_micros(at_us).as_secs_f64())
}

/// Text that is shown as it is: names and reasons come from files.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;
    use crate::scenario::scenario;

    #[test]
    fn a_page_holds_its_pictures_and_fetches_nothing() {
        let crash = scenario("crash").expect("shipped");
        let reports = [run(&crash, 0), run(&crash, 1)];
        let html = page(&crash.about, &reports).expect("drawn");
        assert_eq!(html.matches("<svg").count(), 8, "four pictures of each run");
        assert_eq!(html.matches("</svg>").count(), 8);
        for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        for report in &reports {
            assert!(html.contains(&report.trace_hash));
            assert!(report.faults.keys().chain(report.checks.keys()).all(|name| html.contains(name)));
        }
        assert!(html.contains("2 of 2 runs passed"));
    }

    #[test]
    fn names_and_reasons_are_shown_and_not_run() {
        let calm = scenario("calm").expect("shipped");
        let mut report = run(&calm, 0);
        report.scenario = "<script>x</script>".to_owned();
        (report.pass, report.failures, report.minimal) =
            (false, vec!["a < b & \"c\"".to_owned()], vec!["<i>'step'</i>".to_owned()]);
        let html = page("<b>", &[report]).expect("drawn");
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("<i>"));
        assert!(html.contains("a &lt; b &amp; &quot;c&quot;") && html.contains("&#39;step&#39;"));
        assert!(html.contains("FAIL") && html.contains("In the end something was missing"));
    }
}
