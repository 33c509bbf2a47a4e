//! What `peerage doctor` found. Texts of other nodes are shown with their control characters escaped.

use super::paint::Paint;
use crate::cli::{
    doctor::{Finding, Report, Verdict},
    error::one_line,
};

/// The whole report.
pub(crate) fn report(report: &Report, is_json: bool) -> String {
    if is_json {
        return format!("{}\n", serde_json::to_string(report).unwrap_or_default());
    }
    text(report, Paint::stdout())
}

fn text(report: &Report, paint: Paint) -> String {
    let mut text: String = report.findings.iter().map(|found| line(found, paint)).collect();
    let (failed, warned) = (report.count(Verdict::Fail), report.count(Verdict::Warn));
    let sum = match (failed, warned) {
        (0, 0) => paint.green("nothing is wrong"),
        (0, 1) => paint.yellow("it works; 1 thing could be better"),
        (0, n) => paint.yellow(&format!("it works; {n} things could be better")),
        (1, _) => paint.red("1 thing does not work"),
        (n, _) => paint.red(&format!("{n} things do not work")),
    };
    text.push_str(&format!("\n{sum}\n"));
    text
}

fn line(found: &Finding, paint: Paint) -> String {
    let mark = match found.verdict {
        Verdict::Ok => paint.green("ok  "),
        Verdict::Note => paint.dim("note"),
        Verdict::Warn => paint.yellow("warn"),
        Verdict::Fail => paint.red("FAIL"),
    };
    let check = paint.bold(&format!("{:10}", found.check));
    let about = found.about.as_ref().map_or_else(String::new, |about| one_line(about) + ": ");
    let mut text = format!("{mark}  {check} {about}{}\n", one_line(&found.text));
    if let Some(remedy) = &found.remedy {
        text.push_str(&format!("                 → {}\n", one_line(remedy)));
    }
    text
}
