//! What the backends did, from the records that they keep over all their restarts: nothing twice, nothing for strangers.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::strangers::STOLEN;

/// What the records say.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Effects {
    /// Side effects that were begun.
    pub(crate) begun: u64,
    /// Side effects that were carried out.
    pub(crate) done: u64,
    /// Keys that were begun or carried out more than once.
    pub(crate) twice: Vec<String>,
    /// Keys of strangers.
    pub(crate) strangers: Vec<String>,
}

/// How many keys are told.
const TOLD: usize = 20;

impl Effects {
    /// Takes in the record of one backend: a line per step, `begun KEY` or `done KEY`.
    pub(crate) fn read(&mut self, record: &Path) -> Result<()> {
        let text = match std::fs::read_to_string(record) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("the record {}", record.display())),
        };
        self.take(&text);
        Ok(())
    }

    fn take(&mut self, text: &str) {
        let mut seen: HashMap<(&str, &str), u32> = HashMap::new();
        for (step, key) in text.lines().filter_map(|line| line.split_once(' ')) {
            match step {
                "begun" => self.begun += 1,
                "done" => self.done += 1,
                _ => continue,
            }
            let times = seen.entry((step, key)).or_default();
            *times += 1;
            if *times == 2 && self.twice.len() < TOLD {
                self.twice.push(format!("{step} {key}"));
            }
            if key.starts_with(STOLEN) && self.strangers.len() < TOLD {
                self.strangers.push(key.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Effects;

    #[test]
    fn what_happens_twice_is_told() {
        let mut effects = Effects::default();
        effects.take("begun a\ndone a\nbegun b\nbegun b\nbegun stolen:x\n");
        assert_eq!((effects.begun, effects.done), (4, 1));
        assert_eq!(effects.twice, ["begun b"]);
        assert_eq!(effects.strangers, ["stolen:x"]);
    }
}
