//! Reports and events for people: a line per event while it goes on, a table and findings at the end.

use std::fmt::Write as _;

use crate::finding::{Finding, Severity};
use crate::judge::State;
use crate::observer::Event;
use crate::operation::Operation;
use crate::report::{Attacker, Attempt, Authorization, Report, Sessions};

/// Whether to colour. The caller knows whether a terminal is watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// ANSI colours.
    On,
    /// Plain text.
    Off,
}

#[derive(Clone, Copy)]
enum Tint {
    Good,
    Bad,
    Weak,
    Strong,
}

impl Colour {
    fn paint(self, tint: Tint, text: &str) -> String {
        let code = match tint {
            Tint::Good => "32",
            Tint::Bad => "31;1",
            Tint::Weak => "2",
            Tint::Strong => "1",
        };
        match self {
            Self::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// Foreign text, such as a server's name, must not move the cursor of the one who reads the report.
fn safe(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The line for an event, to print as it happens.
pub fn line(event: &Event<'_>, colour: Colour) -> String {
    match event {
        Event::Stage { title } => format!("\n{}", colour.paint(Tint::Strong, title)),
        Event::Line(line) => {
            let mark = if line.ok { colour.paint(Tint::Good, "✓") } else { colour.paint(Tint::Bad, "✗") };
            format!("  {mark} {}", safe(&line.text))
        }
        Event::Survival(survival) => {
            let (tint, word) = if survival.survived { (Tint::Good, "goes on") } else { (Tint::Bad, "is lost") };
            let name = format!("{:<34}", survival.operation.name());
            format!("    {name} {:<4} {}{}", status(survival.status), colour.paint(tint, word), note(&survival.note))
        }
        Event::Attempt(attempt) => attempt_line(attempt, colour),
        Event::Finding(finding) => {
            let head = colour.paint(Tint::Bad, "  ! ");
            format!("{head}{}", safe(&finding.observed))
        }
        Event::NotExamined(gap) => {
            colour.paint(Tint::Weak, &format!("    not examined: {}: {}", safe(&gap.what), safe(&gap.why)))
        }
    }
}

fn attempt_line(attempt: &Attempt, colour: Colour) -> String {
    let (tint, word) = match attempt.state {
        State::Refused => (Tint::Good, "refused"),
        State::Accepted => (Tint::Bad, "LET IN"),
        State::NotApplicable => (Tint::Weak, "says nothing"),
    };
    let mut out =
        format!("    {:<34} {:<4} {}", attempt.operation.name(), status(attempt.status), colour.paint(tint, word));
    match attempt.like_unknown {
        Some(true) => out.push_str(" like an unknown session"),
        Some(false) => out.push_str(&colour.paint(Tint::Bad, ", but not like an unknown session")),
        None => {}
    }
    match attempt.owner_works {
        Some(true) => out.push_str(", the owner goes on"),
        Some(false) => out.push_str(&colour.paint(Tint::Bad, ", the owner's session is lost")),
        None => {}
    }
    out + &note(&attempt.note)
}

fn note(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({})", safe(text)) }
}

fn status(status: Option<u16>) -> String {
    status.map_or_else(|| "-".to_owned(), |status| status.to_string())
}

/// The whole report.
pub fn report(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = head(&mut out, report, colour);
    let _ = table(&mut out, report, colour);
    let _ = findings(&mut out, report, colour);
    out
}

fn head(out: &mut String, report: &Report, colour: Colour) -> std::fmt::Result {
    writeln!(out, "{}", colour.paint(Tint::Strong, &safe(&report.target)))?;
    let server = report
        .server
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), |server| format!("{} {}", safe(&server.name), safe(&server.version)));
    let authorization = match report.nature.authorization {
        Authorization::Required => "a token is required",
        Authorization::NotRequired => "no token is required",
        Authorization::Unknown => "whether a token is required is unknown",
    };
    let sessions = match report.nature.sessions {
        Sessions::Issued => "sessions",
        Sessions::Stateless => "no sessions",
        Sessions::ModernOnly => "2026-07-28 or later only, no sessions",
        Sessions::Unknown => "no session could be opened",
    };
    let revision = report.revision.as_deref().unwrap_or("unknown");
    writeln!(out, "  server    {server}, MCP {}; {authorization}; {sessions}", safe(revision))?;
    for (role, person) in [("owner", &report.owner), ("stranger", &report.stranger)] {
        if let Some(person) = person {
            let claims = match (&person.subject, &person.issuer) {
                (Some(subject), Some(issuer)) => format!("sub {} of {}", safe(subject), safe(issuer)),
                _ => "an opaque token".to_owned(),
            };
            writeln!(out, "  {role:<9} {}: {claims}", safe(&person.name))?;
        }
    }
    if let Some(tool) = &report.tool {
        writeln!(out, "  tool      {}", safe(tool))?;
    }
    if report.refresh.done {
        let refresh = &report.refresh;
        let (bytes, issuer, subject) = (yes(refresh.new_bytes), yes(refresh.same_issuer), yes(refresh.same_subject));
        writeln!(out, "  refresh   new bytes: {bytes}; same issuer: {issuer}; same subject: {subject}")?;
    }
    Ok(())
}

fn yes(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "unknown",
    }
}

const WIDTH: usize = 10;

fn table(out: &mut String, report: &Report, colour: Colour) -> std::fmt::Result {
    if report.attempts.is_empty() && report.refresh.operations.is_empty() {
        return Ok(());
    }
    for heads in [
        ["after", "no", "made-up", "altered", "another", "owner", "after"],
        ["refresh", "token", "session", "session", "user", "then", "DELETE"],
    ] {
        let cells = heads.map(|head| format!("{head:<WIDTH$}")).concat();
        let line = format!("  {:<34}{cells}", if heads[0] == "after" { "" } else { "operation" });
        writeln!(out, "{}{}", if heads[0] == "after" { "\n" } else { "" }, colour.paint(Tint::Weak, line.trim_end()))?;
    }
    for operation in Operation::ALL {
        let by = |attacker| cell(report, operation, attacker, colour);
        let cells = [
            survival(report, operation, colour),
            by(Attacker::NoToken),
            by(Attacker::MadeUpSession),
            by(Attacker::AlteredSession),
            by(Attacker::Stranger),
            owner_then(report, operation, colour),
            by(Attacker::DeletedSession),
        ];
        writeln!(out, "  {:<34}{}", operation.name(), cells.concat().trim_end())?;
    }
    writeln!(
        out,
        "{}",
        colour.paint(
            Tint::Weak,
            "  a status alone: refused; new id: a session of its own; IN: served; inside: refused within a 2xx answer;\n  ≠: refused, but not like an unknown session; ·: says nothing here"
        )
    )
}

fn padded(text: &str, tint: Tint, colour: Colour) -> String {
    let fill = WIDTH.saturating_sub(text.chars().count());
    format!("{}{}", colour.paint(tint, text), " ".repeat(fill))
}

fn survival(report: &Report, operation: Operation, colour: Colour) -> String {
    match report.refresh.operations.iter().find(|line| line.operation == operation) {
        Some(line) if line.survived => padded("goes on", Tint::Good, colour),
        Some(_) => padded("LOST", Tint::Bad, colour),
        None => padded("·", Tint::Weak, colour),
    }
}

fn cell(report: &Report, operation: Operation, attacker: Attacker, colour: Colour) -> String {
    let Some(attempt) = report.attempts_by(attacker).find(|attempt| attempt.operation == operation) else {
        return padded("·", Tint::Weak, colour);
    };
    let status = status(attempt.status);
    match attempt.state {
        State::Refused if operation == Operation::Initialize && is_2xx(attempt.status) => {
            padded("new id", Tint::Good, colour)
        }
        State::Refused if is_2xx(attempt.status) => padded(&format!("{status} inside"), Tint::Bad, colour),
        State::Refused if attempt.like_unknown == Some(false) => padded(&format!("{status} ≠"), Tint::Bad, colour),
        State::Refused => padded(&status, Tint::Good, colour),
        State::Accepted => padded(&format!("{status} IN"), Tint::Bad, colour),
        State::NotApplicable => padded(&format!("{status} ·"), Tint::Weak, colour),
    }
}

fn is_2xx(status: Option<u16>) -> bool {
    status.is_some_and(|status| (200..300).contains(&status))
}

fn owner_then(report: &Report, operation: Operation, colour: Colour) -> String {
    let attempt = report.attempts_by(Attacker::Stranger).find(|attempt| attempt.operation == operation);
    match attempt.and_then(|attempt| attempt.owner_works) {
        Some(true) => padded("goes on", Tint::Good, colour),
        Some(false) => padded("LOST", Tint::Bad, colour),
        None => padded("·", Tint::Weak, colour),
    }
}

fn findings(out: &mut String, report: &Report, colour: Colour) -> std::fmt::Result {
    for finding in &report.findings {
        write_finding(out, finding, colour)?;
    }
    if !report.not_examined.is_empty() {
        writeln!(out, "\n{}", colour.paint(Tint::Strong, "Not examined"))?;
    }
    for gap in &report.not_examined {
        writeln!(out, "  {}: {}", safe(&gap.what), safe(&gap.why))?;
    }
    let seconds = report.elapsed_ms / 1000;
    let summary = match report.findings.len() {
        0 if report.attempts.is_empty() => colour.paint(Tint::Strong, "Nothing could be examined"),
        0 => colour.paint(Tint::Good, "No finding"),
        1 => colour.paint(Tint::Bad, "1 finding"),
        count => colour.paint(Tint::Bad, &format!("{count} findings")),
    };
    writeln!(out, "\n{summary}; {} requests in {seconds} s", report.requests)
}

/// The operations by name, or, where they are nearly all, the ones that are not among them.
fn places(operations: &[Operation]) -> String {
    let names = |list: &[Operation]| list.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(", ");
    let others: Vec<Operation> = Operation::ALL.into_iter().filter(|one| !operations.contains(one)).collect();
    match others.len() {
        0 => "every operation".to_owned(),
        1..=4 => format!("every operation but {}", names(&others)),
        _ => names(operations),
    }
}

fn write_finding(out: &mut String, finding: &Finding, colour: Colour) -> std::fmt::Result {
    let severity = match finding.severity {
        Severity::Critical => "CRITICAL",
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
    };
    let head = format!("{severity} {}", finding.id.name());
    writeln!(out, "\n{}", colour.paint(Tint::Bad, &head))?;
    if !finding.operations.is_empty() {
        writeln!(out, "  where     {}", places(&finding.operations))?;
    }
    writeln!(out, "  expected  {}", finding.expected)?;
    writeln!(out, "  happened  {}", safe(&finding.observed))?;
    writeln!(out, "  text      {}", finding.citation)?;
    writeln!(out, "  to do     {}", finding.remedy)
}
