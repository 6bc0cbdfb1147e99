//! The story holds on a correct server and breaks, at the right line, on every other.

use hawser_probe::Event;
use hawser_probe::story::{Stage, Step, Story, tell};

use crate::fake::{Fake, Hole, Kind, LoginPage};
use crate::{target, user};

/// A restart of a server that keeps its sessions, or loses them.
struct Restart<'a> {
    fake: &'a Fake,
    keeps_sessions: bool,
    works: bool,
}

impl Stage for Restart<'_> {
    async fn restart(&mut self) -> Result<String, String> {
        if !self.keeps_sessions {
            self.fake.shared.tables().sessions.clear();
        }
        if self.works { Ok("It was restarted.".to_owned()) } else { Err("It did not come back.".to_owned()) }
    }
}

async fn told(fake: &Fake, keeps_sessions: bool, works: bool) -> Story {
    let mut lines = Vec::new();
    let mut observer = |event: &Event<'_>| {
        if let Event::Line(line) = event {
            lines.push(line.text.clone());
        }
    };
    let mut stage = Restart { fake, keeps_sessions, works };
    let story = tell(&target(fake), &user("alice"), &user("mallory"), &mut stage, &mut observer).await;
    let at_the_end: Vec<_> = story.lines.iter().map(|line| line.text.clone()).collect();
    assert_eq!(lines, at_the_end, "every line was told live");
    story
}

fn broken(story: &Story) -> Vec<Step> {
    assert!(!story.ok);
    story.lines.iter().filter(|line| !line.ok).map(|line| line.step).collect()
}

#[tokio::test]
async fn the_story_holds_on_a_correct_server() {
    let fake = Fake::start(Hole::None).await;
    let story = told(&fake, true, true).await;
    assert!(story.ok, "{:#?}", story.lines);
    let steps = [
        Step::Register,
        Step::LogIn,
        Step::Initialize,
        Step::List,
        Step::Call,
        Step::Refresh,
        Step::CallAfterRefresh,
        Step::Stranger,
        Step::OwnerGoesOn,
        Step::Restart,
        Step::OwnerGoesOnAfterRestart,
        Step::StrangerAfterRestart,
        Step::Delete,
        Step::Findings,
    ];
    for step in steps {
        assert!(story.lines.iter().any(|line| line.step == step), "{step:?}");
    }
    assert!(fake.shared.tables().sessions.is_empty());
}

#[tokio::test]
async fn the_story_breaks_at_the_line_that_does_not_hold() {
    for (hole, step) in [
        (Hole::BindsTokenBytes, Step::CallAfterRefresh),
        (Hole::RenamesOnRefresh, Step::Refresh),
        (Hole::NoBinding, Step::Stranger),
        (Hole::Answers403, Step::Stranger),
        (Hole::NeverDeletes, Step::Delete),
    ] {
        let story = told(&Fake::start(hole).await, true, true).await;
        assert!(broken(&story).contains(&step), "{hole:?}: {:#?}", story.lines);
    }
}

#[tokio::test]
async fn sessions_lost_in_a_restart_break_the_story() {
    let fake = Fake::start(Hole::None).await;
    assert!(broken(&told(&fake, false, true).await).contains(&Step::OwnerGoesOnAfterRestart));
}

#[tokio::test]
async fn a_gateway_that_does_not_come_back_ends_the_story() {
    let fake = Fake::start(Hole::None).await;
    let story = told(&fake, true, false).await;
    assert_eq!(broken(&story), [Step::Restart]);
    assert!(story.lines.iter().all(|line| line.step != Step::Delete));
}

#[tokio::test]
async fn there_is_no_story_where_nobody_is_asked_who_they_are() {
    let fake = Fake::with(Hole::None, Kind::Open, LoginPage::Development).await;
    assert_eq!(broken(&told(&fake, true, true).await), [Step::LogIn]);
}
