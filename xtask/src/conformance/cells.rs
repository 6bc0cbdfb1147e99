//! What is measured: the everything-server itself, the gateway in front of it, and the gateway in front of a server of
//! the other era.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};

use super::judge::{self, Inherent, Loss};
use super::servers::Server;
use super::suite::{Requirements, Revision, Status, Suite, Verdicts};
use crate::report::{Counts, Finding};
use crate::workspace::Workspace;

/// The list of what the cross product loses, beside this crate's manifest.
const INHERENT: &str = "xtask/inherent-losses.yaml";
/// How many losses of one run are shown; all are in the results.
const SHOWN: usize = 40;

/// Scenarios whose subject is the endpoint itself: whatever the backend is, the gateway must hold them.
const ENDPOINT_OWNED: [&str; 10] = [
    "caching",
    "dns-rebinding-protection",
    "http-custom-header-server-validation",
    "http-header-validation",
    "ping",
    "server-initialize",
    "server-session-lifecycle",
    "server-sse-multiple-streams",
    "server-sse-polling",
    "server-stateless",
];

/// One run of a requirement set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cell {
    /// The server of both eras, without the gateway: the reference.
    Direct(Revision),
    /// The same through the gateway.
    Through(Revision),
    /// A client of this revision, through the gateway, to a server of the other one only.
    Across(Revision),
}

impl Cell {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let each = |of: fn(Revision) -> Self| Revision::ALL.into_iter().map(of);
        each(Self::Direct).chain(each(Self::Through)).chain(each(Self::Across))
    }

    /// The name of its step, its folder and its entries in the list of losses.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct(Revision::Legacy) => "direct-2025-11-25",
            Self::Direct(Revision::Modern) => "direct-2026-07-28",
            Self::Through(Revision::Legacy) => "through-2025-11-25",
            Self::Through(Revision::Modern) => "through-2026-07-28",
            Self::Across(Revision::Legacy) => "2025-11-25-over-modern",
            Self::Across(Revision::Modern) => "2026-07-28-over-legacy",
        }
    }

    /// The cell that it is compared with; a direct one with nothing but the suite.
    pub(super) fn reference(self) -> Self {
        Self::Direct(self.revision())
    }

    fn revision(self) -> Revision {
        match self {
            Self::Direct(revision) | Self::Through(revision) | Self::Across(revision) => revision,
        }
    }
}

/// The runs so far.
pub(super) struct Measurement<'a> {
    workspace: &'a Workspace,
    suite: Suite,
    inherent: Inherent,
    reference: Vec<(Revision, Verdicts)>,
    details: Vec<Value>,
}

/// One run's numbers.
#[derive(Serialize)]
struct Tally {
    scored: usize,
    scored_held: usize,
    unscored: usize,
    unscored_held: usize,
}

impl<'a> Measurement<'a> {
    pub(super) fn new(workspace: &'a Workspace) -> Result<Self> {
        let text =
            fs::read_to_string(workspace.root().join(INHERENT)).with_context(|| format!("reading {INHERENT}"))?;
        let inherent = Inherent::read(&text)?;
        if let Some(unknown) = inherent.cells().into_iter().find(|name| !Cell::all().any(|cell| cell.name() == *name)) {
            bail!("{INHERENT} speaks of `{unknown}`, which is not measured");
        }
        Ok(Self { workspace, suite: Suite::find(workspace)?, inherent, reference: Vec::new(), details: Vec::new() })
    }

    /// Runs one cell and judges it; the direct ones must come first.
    pub(super) fn run(&mut self, cell: Cell, counts: &mut Counts) -> Result<Finding> {
        let requirements = self.suite.requirements(cell.revision())?;
        let verdicts = self.verdicts(cell)?;
        let tally = tally(&verdicts, &requirements);
        counts.passed += (tally.scored_held + tally.unscored_held) as u64;
        let mut complaints = match cell {
            Cell::Direct(_) => {
                missed("does not hold", judge::unmet(&verdicts, |scenario| requirements.scores(scenario)))
            }
            Cell::Through(revision) => {
                let mut lost = judge::losses(self.reference(revision)?, &verdicts);
                lost.extend(unmet_by_the_endpoint(&verdicts, &lost));
                missed("is lost", lost)
            }
            Cell::Across(revision) => {
                let reference = self.reference(revision)?;
                let judged = self.inherent.judge(cell.name(), reference, judge::losses(reference, &verdicts));
                println!("    {} checks lost as listed in {INHERENT}", judged.expected);
                let mut complaints = missed("is lost and not listed", judged.unexpected);
                let kept = judged.kept.into_iter();
                complaints.extend(kept.map(|check| format!("listed, but holds: {} / {}", check.scenario, check.id)));
                complaints
            }
        };
        self.details.push(json!({ "cell": cell.name(), "tally": tally, "complaints": complaints }));
        if let Cell::Direct(revision) = cell {
            self.reference.push((revision, verdicts));
        }
        let summary = format!(
            "{} of {} scored checks hold, {} of {} others",
            tally.scored_held, tally.scored, tally.unscored_held, tally.unscored
        );
        if complaints.is_empty() {
            return Ok(Finding::passed(summary));
        }
        counts.failed += complaints.len() as u64;
        let (all, results) = (complaints.len(), self.suite.results().join(cell.name()));
        complaints.truncate(SHOWN);
        for complaint in &complaints {
            println!("    {complaint}");
        }
        bail!("{all} complaints; {summary}; results in {}", results.display())
    }

    /// All runs' numbers and complaints.
    pub(super) fn details(self) -> Value {
        self.details.into()
    }

    fn reference(&self, revision: Revision) -> Result<&Verdicts> {
        let found = self.reference.iter().find(|(of, _)| *of == revision);
        Ok(&found.context("the server itself was not measured")?.1)
    }

    fn verdicts(&self, cell: Cell) -> Result<Verdicts> {
        let folder = self.suite.results().join(format!("{}-servers", cell.name()));
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let only = match cell {
            Cell::Across(Revision::Legacy) => Some(Revision::Modern),
            Cell::Across(Revision::Modern) => Some(Revision::Legacy),
            Cell::Direct(_) | Cell::Through(_) => None,
        };
        let everything = Server::everything(self.workspace, only, &folder.join("everything.txt"))?;
        if matches!(cell, Cell::Direct(_)) {
            return self.suite.run(cell.name(), cell.revision(), &everything.url);
        }
        let gateway = Server::gateway(self.workspace, &everything.url, &folder.join("hawser"))?;
        self.suite.run(cell.name(), cell.revision(), &gateway.url)
    }
}

/// What the endpoint must hold whatever is behind it, besides what is known as lost.
fn unmet_by_the_endpoint(verdicts: &Verdicts, known: &[Loss]) -> Vec<Loss> {
    let unmet = judge::unmet(verdicts, |scenario| ENDPOINT_OWNED.contains(&scenario)).into_iter();
    unmet.filter(|unmet| !known.iter().any(|loss| loss.check == unmet.check)).collect()
}

fn missed(how: &str, losses: Vec<Loss>) -> Vec<String> {
    losses.into_iter().map(|loss| complaint(how, loss)).collect()
}

fn complaint(how: &str, Loss { check, was, is, message }: Loss) -> String {
    let word =
        |status: Option<Status>| status.map_or("not made".to_owned(), |status| format!("{status:?}").to_lowercase());
    let mut text = format!("{how}: {} / {} ({}", check.scenario, check.id, word(is));
    if was != is {
        let _ = write!(text, "; {} without the gateway", word(was));
    }
    text.push(')');
    if let Some(message) = message {
        let _ = write!(text, ": {message}");
    }
    text
}

fn tally(verdicts: &Verdicts, requirements: &Requirements) -> Tally {
    let count = |scored: bool, least: Status| {
        let of = verdicts.iter().filter(|(check, _)| requirements.scores(&check.scenario) == scored);
        of.filter(|(_, verdict)| verdict.status != Status::Info && verdict.status >= least).count()
    };
    Tally {
        scored: count(true, Status::Failure),
        scored_held: count(true, Status::Skipped),
        unscored: count(false, Status::Failure),
        unscored_held: count(false, Status::Skipped),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, ENDPOINT_OWNED};

    #[test]
    fn what_is_compared_with_is_measured_first() {
        let cells: Vec<_> = Cell::all().collect();
        assert_eq!(cells.len(), 6);
        assert!(cells.iter().take(2).all(|cell| matches!(cell, Cell::Direct(_))));
        assert!(ENDPOINT_OWNED.is_sorted());
    }
}
