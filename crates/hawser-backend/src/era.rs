//! Which protocol eras a server speaks: what is known of it, and what to try next. Pure decisions; who asks the server is in
//! `open.rs`.
//!
//! "The era determination is a property of the server, not of an individual request" (MCP 2026-07-28, Versioning): it is
//! found out once and kept until it fails. A server that speaks both eras is spoken to in the client's.

use hawser_mcp::Era;

/// Most attempts of one kind in one opening.
const TRIES_MAX: u8 = 2;

/// Whether an era is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Nobody has asked yet, or the answer is in doubt.
    #[default]
    Unknown,
    Yes,
    No,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Eras {
    pub(crate) legacy: Spoken,
    pub(crate) modern: Spoken,
}

impl Eras {
    /// A server whose transport exists in the session era only.
    pub(crate) const LEGACY_ONLY: Self = Self { legacy: Spoken::Yes, modern: Spoken::No };

    /// What is left of it when something has changed on the other side: what was refused may be spoken now.
    pub(crate) const fn in_doubt(self) -> Self {
        const fn doubted(spoken: Spoken) -> Spoken {
            match spoken {
                Spoken::Yes => Spoken::Yes,
                Spoken::No | Spoken::Unknown => Spoken::Unknown,
            }
        }
        Self { legacy: doubted(self.legacy), modern: doubted(self.modern) }
    }
}

/// What to do next to open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send `server/discover`. Who is not patient waits for a short time only: a legacy server may stay silent.
    Discover { patient: bool },
    /// Send `initialize`.
    Initialize { patient: bool },
    /// The session is there, in this era.
    Open(Era),
    /// The server speaks neither.
    GiveUp,
}

/// What a step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A discover result that names a version spoken here.
    Discovered,
    /// Anything else that does not name a modern server.
    NotDiscovered,
    /// Nothing in the short time.
    Silence,
    /// A failure that says nothing of the era.
    Unclear,
    /// The handshake is done.
    Initialized,
    /// `initialize` was refused.
    NotInitialized,
}

/// One opening.
#[derive(Debug)]
pub(crate) struct Opening {
    client: Era,
    /// On stdio the probe comes first, whatever the client speaks (MCP 2026-07-28, stdio, Backward Compatibility).
    probe_first: bool,
    eras: Eras,
    /// What the last probe brought.
    probe: Option<Seen>,
    initialized: bool,
    discoveries: u8,
    handshakes: u8,
}

impl Opening {
    pub(crate) const fn new(client: Era, probe_first: bool, known: Eras) -> Self {
        Self { client, probe_first, eras: known, probe: None, initialized: false, discoveries: 0, handshakes: 0 }
    }

    /// What to do next.
    pub(crate) fn next(&self) -> Step {
        match self.client {
            Era::Legacy => self.next_for_legacy(),
            Era::Modern => self.next_for_modern(),
        }
    }

    fn next_for_legacy(&self) -> Step {
        let unknown = self.eras.legacy != Spoken::Yes && self.eras.modern != Spoken::No;
        if self.initialized {
            Step::Open(Era::Legacy)
        } else if self.probe_first && unknown && self.discoveries == 0 {
            self.discover()
        } else if self.eras.legacy != Spoken::No && self.handshakes == 0 {
            // Of a server that is known to be modern an answer comes soon.
            Step::Initialize { patient: !self.discovered() }
        } else {
            self.whatever_is_left()
        }
    }

    fn next_for_modern(&self) -> Step {
        if self.eras.modern != Spoken::No && !self.discovered() && self.discoveries == 0 {
            self.discover()
        } else {
            self.whatever_is_left()
        }
    }

    /// What was not tried, or not with patience; for who cannot have what it would like best.
    fn whatever_is_left(&self) -> Step {
        if self.discovered() {
            Step::Open(Era::Modern)
        } else if self.initialized {
            Step::Open(Era::Legacy)
        } else if self.handshakes == 0 && (self.client == Era::Modern || self.discoveries > 0) {
            Step::Initialize { patient: true }
        } else if self.discoveries == 0 || (self.probe == Some(Seen::Silence) && self.discoveries < TRIES_MAX) {
            self.discover()
        } else {
            Step::GiveUp
        }
    }

    fn discovered(&self) -> bool {
        self.probe == Some(Seen::Discovered)
    }

    fn discover(&self) -> Step {
        Step::Discover { patient: self.eras.modern == Spoken::Yes || self.handshakes > 0 }
    }

    /// Takes in what the step brought.
    pub(crate) fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Discovered | Seen::NotDiscovered | Seen::Silence | Seen::Unclear => {
                self.discoveries = self.discoveries.saturating_add(1);
                self.probe = Some(seen);
                self.eras.modern = if self.discovered() { Spoken::Yes } else { Spoken::No };
            }
            Seen::Initialized | Seen::NotInitialized => {
                self.handshakes = self.handshakes.saturating_add(1);
                self.initialized = seen == Seen::Initialized;
                self.eras.legacy = if self.initialized { Spoken::Yes } else { Spoken::No };
            }
        }
    }

    /// What is known after it. An opening that failed leaves nothing.
    pub(crate) fn learnt(&self) -> Eras {
        match (self.discovered(), self.initialized) {
            (false, false) => Eras::default(),
            (false, true) if self.probe == Some(Seen::Unclear) => Eras { modern: Spoken::Unknown, ..self.eras },
            _ => self.eras,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server as it answers.
    #[derive(Clone, Copy, Debug)]
    struct Server {
        legacy: bool,
        modern: bool,
        /// It says nothing to what it does not know.
        silent: bool,
    }

    #[test]
    fn a_failure_that_says_nothing_is_not_believed_for_long() {
        let mut opening = Opening::new(Era::Modern, false, Eras::default());
        opening.see(Seen::Unclear);
        assert_eq!(opening.next(), Step::Initialize { patient: true });
        opening.see(Seen::Initialized);
        assert_eq!((opening.next(), opening.learnt().modern), (Step::Open(Era::Legacy), Spoken::Unknown));
    }

    impl Server {
        fn answer(self, step: Step) -> Seen {
            match step {
                Step::Discover { .. } if self.modern => Seen::Discovered,
                Step::Discover { patient: false } if self.silent => Seen::Silence,
                Step::Discover { .. } => Seen::NotDiscovered,
                Step::Initialize { .. } if self.legacy => Seen::Initialized,
                Step::Initialize { .. } => Seen::NotInitialized,
                Step::Open(_) | Step::GiveUp => unreachable!("nothing is sent"),
            }
        }

        fn speaks(self, era: Era) -> bool {
            match era {
                Era::Legacy => self.legacy,
                Era::Modern => self.modern,
            }
        }

        fn knowledge(self) -> Eras {
            let spoken = |yes| if yes { Spoken::Yes } else { Spoken::No };
            Eras { legacy: spoken(self.legacy), modern: spoken(self.modern) }
        }
    }

    fn servers() -> impl Iterator<Item = Server> {
        (0..8).map(|bits| Server { legacy: bits & 1 != 0, modern: bits & 2 != 0, silent: bits & 4 != 0 })
    }

    fn knowledge() -> impl Iterator<Item = Eras> {
        let all = [Spoken::Unknown, Spoken::Yes, Spoken::No];
        all.into_iter().flat_map(move |legacy| all.into_iter().map(move |modern| Eras { legacy, modern }))
    }

    /// Every step of an opening, the last one included.
    fn opened(server: Server, client: Era, stdio: bool, known: Eras) -> (Vec<Step>, Eras) {
        let mut opening = Opening::new(client, stdio, known);
        let mut steps = Vec::new();
        loop {
            let step = opening.next();
            steps.push(step);
            assert!(steps.len() <= 5, "{server:?} {client:?} {known:?}: {steps:?}");
            if matches!(step, Step::Open(_) | Step::GiveUp) {
                return (steps, opening.learnt());
            }
            opening.see(server.answer(step));
        }
    }

    fn all_cases() -> impl Iterator<Item = (Server, Era, bool, Eras)> {
        servers().flat_map(|server| {
            [Era::Legacy, Era::Modern].into_iter().flat_map(move |client| {
                [false, true]
                    .into_iter()
                    .flat_map(move |stdio| knowledge().map(move |known| (server, client, stdio, known)))
            })
        })
    }

    #[test]
    fn whatever_was_believed_a_server_is_opened_in_an_era_that_it_speaks() {
        for (server, client, stdio, known) in all_cases() {
            let (steps, learnt) = opened(server, client, stdio, known);
            let case = format!("{server:?} {client:?} stdio {stdio} {known:?}: {steps:?}");
            match steps.last() {
                Some(Step::Open(era)) => assert!(server.speaks(*era), "{case}"),
                _ => assert!(!server.legacy && !server.modern, "{case}"),
            }
            let true_of =
                |spoken, yes| spoken == Spoken::Unknown || spoken == if yes { Spoken::Yes } else { Spoken::No };
            if known == Eras::default() || known == server.knowledge() {
                assert!(true_of(learnt.legacy, server.legacy) && true_of(learnt.modern, server.modern), "{case}");
            }
        }
    }

    #[test]
    fn a_server_of_both_eras_is_spoken_to_in_the_clients() {
        for (server, client, stdio, known) in all_cases() {
            let believed_not_to = match client {
                Era::Legacy => known.legacy == Spoken::No,
                Era::Modern => known.modern == Spoken::No,
            };
            if server.speaks(client) && !believed_not_to {
                let (steps, _) = opened(server, client, stdio, known);
                assert_eq!(
                    steps.last(),
                    Some(&Step::Open(client)),
                    "{server:?} {client:?} {stdio} {known:?}: {steps:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_known_costs_no_probe() {
        for server in servers().filter(|server| server.legacy || server.modern) {
            for (client, stdio) in
                [(Era::Legacy, false), (Era::Legacy, true), (Era::Modern, false), (Era::Modern, true)]
            {
                let (steps, learnt) = opened(server, client, stdio, server.knowledge());
                assert_eq!((steps.len(), learnt), (2, server.knowledge()), "{server:?} {client:?}: {steps:?}");
            }
        }
    }

    #[test]
    fn a_legacy_client_tries_the_handshake_first_over_http_and_the_probe_over_stdio() {
        let first = |stdio| Opening::new(Era::Legacy, stdio, Eras::default()).next();
        assert_eq!(first(false), Step::Initialize { patient: true });
        assert_eq!(first(true), Step::Discover { patient: false });
        assert_eq!(Opening::new(Era::Modern, false, Eras::default()).next(), Step::Discover { patient: false });
    }

    #[test]
    fn doubt_keeps_what_worked_and_asks_again_for_what_did_not() {
        let known = Eras::LEGACY_ONLY;
        assert_eq!(known.in_doubt(), Eras { legacy: Spoken::Yes, modern: Spoken::Unknown });
    }

    #[test]
    fn a_server_that_answers_nothing_right_is_given_up_and_nothing_is_believed_of_it() {
        for server in servers().filter(|server| !server.legacy && !server.modern) {
            for known in knowledge() {
                let (steps, learnt) = opened(server, Era::Legacy, false, known);
                assert_eq!((steps.last(), learnt), (Some(&Step::GiveUp), Eras::default()));
            }
        }
    }
}
