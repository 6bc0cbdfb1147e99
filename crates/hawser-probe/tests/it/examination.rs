//! The examination against a server with one hole at a time: each hole is found, and a correct server yields no finding.

use hawser_probe::oauth::Client;
use hawser_probe::report::{Authorization, Sessions};
use hawser_probe::{Attacker, Entry, Event, Fault, Given, Operation, Principals, Report, Secret, State};

use crate::fake::{Fake, Hole, Kind, LoginPage};
use crate::{login, target};

async fn examine(fake: &Fake) -> Report {
    let principals = Principals { owner: login("alice"), stranger: login("mallory") };
    hawser_probe::examine(&target(fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap()
}

/// The faults of a report, each with its operations.
fn faults(report: &Report) -> Vec<(Fault, &[Operation])> {
    report.findings.iter().map(|finding| (finding.id, finding.operations.as_slice())).collect()
}

fn operations(report: &Report, fault: Fault) -> &[Operation] {
    let found = report.findings.iter().find(|finding| finding.id == fault);
    let found = found.unwrap_or_else(|| panic!("{fault:?} was not found: {:#?}", faults(report)));
    &found.operations
}

#[tokio::test]
async fn a_correct_server_yields_no_finding() {
    let fake = Fake::start(Hole::None).await;
    let report = examine(&fake).await;
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.not_examined.is_empty(), "{:#?}", report.not_examined);
    assert_eq!((report.nature.authorization, report.nature.sessions), (Authorization::Required, Sessions::Issued));
    let refresh = &report.refresh;
    assert_eq!((refresh.new_bytes, refresh.same_issuer, refresh.same_subject), (Some(true), Some(true), Some(true)));
    assert!(refresh.operations.len() >= 18 && refresh.operations.iter().all(|line| line.survived));
    let by_stranger: Vec<_> = report.attempts_by(Attacker::Stranger).collect();
    assert_eq!(by_stranger.len(), Operation::ALL.len());
    for attempt in by_stranger {
        assert_eq!((attempt.state, attempt.owner_works), (State::Refused, Some(true)), "{attempt:?}");
        assert_eq!(attempt.like_unknown, Some(true), "{attempt:?}");
    }
    for attempt in report.attempts_by(Attacker::NoToken) {
        assert_eq!(attempt.status, Some(401), "{attempt:?}");
    }
    for attacker in [Attacker::MadeUpSession, Attacker::AlteredSession, Attacker::DeletedSession] {
        assert!(report.attempts_by(attacker).count() >= 20);
        assert!(report.attempts_by(attacker).all(|attempt| attempt.state == State::Refused));
    }
    let tables = fake.shared.tables();
    assert!(
        tables.calls.iter().all(|(tool, user)| tool != "remove_everything" && user == "alice"),
        "{:?}",
        tables.calls
    );
    assert!(tables.sessions.is_empty(), "everything that was opened is closed again");
    assert_eq!(tables.revoked, 2, "both grants are revoked at the end");
}

#[tokio::test]
async fn no_binding_at_all_is_found_on_every_operation() {
    let report = examine(&Fake::start(Hole::NoBinding).await).await;
    let found = operations(&report, Fault::StrangerAdmitted);
    let missing: Vec<_> =
        Operation::ALL.iter().filter(|one| !found.contains(one) && **one != Operation::Initialize).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(operations(&report, Fault::OwnerCallCancelled), [Operation::Cancelled]);
    assert_eq!(operations(&report, Fault::OwnerLostSession), [Operation::Delete]);
}

#[tokio::test]
async fn binding_to_token_bytes_is_found_by_what_dies_on_refresh() {
    let report = examine(&Fake::start(Hole::BindsTokenBytes).await).await;
    let expected = [Operation::ToolsCall, Operation::ResourcesRead, Operation::PromptsGet];
    assert_eq!(operations(&report, Fault::SessionDiesOnRefresh), expected);
    let survived =
        |operation| report.refresh.operations.iter().find(|line| line.operation == operation).unwrap().survived;
    assert!(survived(Operation::ToolsList) && !survived(Operation::ToolsCall));
    assert_eq!(operations(&report, Fault::RefusalInBand), expected);
    assert_eq!(operations(&report, Fault::OwnerLostSession)[0], Operation::ToolsCall);
}

#[tokio::test]
async fn a_mismatch_that_kills_the_owners_session_is_found() {
    let report = examine(&Fake::start(Hole::KillsOnMismatch).await).await;
    assert!(operations(&report, Fault::OwnerLostSession).len() > 15);
    assert_eq!(faults(&report).len(), 1, "{:#?}", faults(&report));
}

#[tokio::test]
async fn a_check_of_tools_call_only_is_found() {
    let report = examine(&Fake::start(Hole::ChecksCallOnly).await).await;
    let found = operations(&report, Fault::StrangerAdmitted);
    assert!(!found.contains(&Operation::ToolsCall), "{found:?}");
    for operation in [Operation::ToolsList, Operation::ResourcesRead, Operation::Get, Operation::Delete] {
        assert!(found.contains(&operation), "{operation:?} of {found:?}");
    }
}

/// One hole, the faults it shows, and the operations it shows by; nothing else may be reported.
async fn check(hole: Hole, expected: &[(Fault, &[Operation])]) {
    let report = examine(&Fake::start(hole).await).await;
    for (fault, at) in expected {
        assert_eq!(operations(&report, *fault), *at, "{hole:?} {fault:?}");
    }
    let unexpected: Vec<_> =
        faults(&report).into_iter().filter(|(fault, _)| expected.iter().all(|(known, _)| known != fault)).collect();
    assert!(unexpected.is_empty(), "{hole:?}: {unexpected:#?}");
}

#[tokio::test]
async fn a_forgotten_get_is_found() {
    check(Hole::ForgetsGet, &[(Fault::StrangerAdmitted, &[Operation::Get, Operation::GetResume])]).await;
}

#[tokio::test]
async fn a_stolen_stream_is_found() {
    let gets: &[Operation] = &[Operation::Get, Operation::GetResume];
    check(Hole::StealsStream, &[(Fault::StrangerAdmitted, gets), (Fault::OwnerStreamCut, gets)]).await;
}

#[tokio::test]
async fn a_forgotten_delete_is_found() {
    let delete: &[Operation] = &[Operation::Delete];
    check(Hole::ForgetsDelete, &[(Fault::StrangerAdmitted, delete), (Fault::OwnerLostSession, delete)]).await;
}

#[tokio::test]
async fn a_403_that_tells_that_the_session_exists_is_found() {
    let report = examine(&Fake::start(Hole::Answers403).await).await;
    assert!(operations(&report, Fault::RefusalTells).len() > 15);
    assert_eq!(faults(&report).len(), 1, "{:#?}", faults(&report));
}

#[tokio::test]
async fn a_refusal_inside_a_200_is_found() {
    let report = examine(&Fake::start(Hole::AnswersInBand).await).await;
    assert!(operations(&report, Fault::RefusalInBand).contains(&Operation::ToolsCall));
}

#[tokio::test]
async fn client_chosen_ids_are_found() {
    let report = examine(&Fake::start(Hole::AdoptsIds).await).await;
    assert_eq!(operations(&report, Fault::ClientChosenSession), [Operation::Initialize]);
}

#[tokio::test]
async fn cancelling_anothers_call_is_found() {
    let cancelled: &[Operation] = &[Operation::Cancelled];
    check(Hole::CancelsOthers, &[(Fault::StrangerAdmitted, cancelled), (Fault::OwnerCallCancelled, cancelled)]).await;
}

#[tokio::test]
async fn answering_in_anothers_name_is_found() {
    let both: &[Operation] = &[Operation::UnaskedResponse, Operation::PendingResponse];
    check(Hole::TakesOthersAnswers, &[(Fault::StrangerAdmitted, both)]).await;
}

#[tokio::test]
async fn a_session_id_that_works_without_a_token_is_found() {
    let report = examine(&Fake::start(Hole::SessionIsPassword).await).await;
    assert!(operations(&report, Fault::NoTokenAdmitted).contains(&Operation::ToolsCall));
    assert!(operations(&report, Fault::OwnerLostSession).is_empty(), "the DELETE without a token ended the session");
}

#[tokio::test]
async fn a_session_that_outlives_its_delete_is_found() {
    let report = examine(&Fake::start(Hole::NeverDeletes).await).await;
    assert!(operations(&report, Fault::DeletedSessionServed).contains(&Operation::ToolsCall));
    assert_eq!(faults(&report).len(), 1, "{:#?}", faults(&report));
}

#[tokio::test]
async fn an_altered_id_that_still_opens_is_found() {
    let report = examine(&Fake::start(Hole::ComparesHalf).await).await;
    assert!(operations(&report, Fault::AlteredSessionServed).contains(&Operation::ToolsCall));
}

#[tokio::test]
async fn another_status_than_404_is_found() {
    let report = examine(&Fake::start(Hole::Unknown400).await).await;
    assert!(operations(&report, Fault::UnknownSessionNot404).contains(&Operation::Ping));
    assert_eq!(faults(&report).len(), 1, "{:#?}", faults(&report));
}

#[tokio::test]
async fn where_session_ids_are_ignored_nothing_is_claimed_about_strangers() {
    let report = examine(&Fake::start(Hole::IgnoresSessions).await).await;
    for fault in [Fault::UnknownSessionServed, Fault::AlteredSessionServed, Fault::DeletedSessionServed] {
        assert!(operations(&report, fault).contains(&Operation::ToolsCall), "{fault:?}");
    }
    assert!(report.findings.iter().all(|finding| finding.id != Fault::StrangerAdmitted));
    assert!(report.attempts_by(Attacker::Stranger).all(|attempt| attempt.state != State::Accepted));
    assert!(report.not_examined.iter().any(|gap| gap.what.starts_with("tools/call")), "{:?}", report.not_examined);
}

#[tokio::test]
async fn a_refresh_that_changes_the_subject_is_found() {
    let report = examine(&Fake::start(Hole::RenamesOnRefresh).await).await;
    assert_eq!(operations(&report, Fault::PrincipalChangesOnRefresh), []);
    assert_eq!(report.refresh.same_subject, Some(false));
}

#[tokio::test]
async fn a_login_form_and_a_consent_page_are_driven() {
    let fake = Fake::with(Hole::None, Kind::Guarded, LoginPage::Form).await;
    let report = examine(&fake).await;
    assert!(report.findings.is_empty() && report.refresh.done);
    assert_eq!(report.owner.unwrap().subject.as_deref(), Some("alice"));
}

#[tokio::test]
async fn what_a_server_has_not_got_is_said_and_no_finding() {
    for (kind, authorization, sessions) in [
        (Kind::Open, Authorization::NotRequired, Sessions::Issued),
        (Kind::Stateless, Authorization::Required, Sessions::Stateless),
        (Kind::Modern, Authorization::Unknown, Sessions::ModernOnly),
    ] {
        let fake = Fake::with(Hole::None, kind, LoginPage::Development).await;
        let principals = match kind {
            Kind::Modern => Principals { owner: Entry::Nobody, stranger: Entry::Nobody },
            _ => Principals { owner: login("alice"), stranger: login("mallory") },
        };
        let report = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap();
        assert!(report.findings.is_empty(), "{kind:?}: {:#?}", report.findings);
        assert!(!report.not_examined.is_empty(), "{kind:?}");
        assert_eq!((report.nature.authorization, report.nature.sessions), (authorization, sessions), "{kind:?}");
    }
}

fn given(fake: &Fake, user: &str, refreshed: bool) -> Entry {
    let name = user.to_owned();
    let opaque = |token: &str| {
        fake.shared.tables().tokens.insert(token.to_owned(), user.to_owned());
        Secret::new(token)
    };
    let access = opaque(&format!("{user}-1"));
    let refreshed = refreshed.then(|| opaque(&format!("{user}-2")));
    Entry::Given(Given { name, access, refreshed, refresh: None })
}

#[tokio::test]
async fn given_opaque_tokens_are_examined_and_nothing_is_claimed_about_their_claims() {
    let fake = Fake::start(Hole::None).await;
    let principals = Principals { owner: given(&fake, "alice", true), stranger: given(&fake, "mallory", false) };
    let report = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.refresh.new_bytes, report.refresh.same_subject), (Some(true), None));
    assert_eq!(report.attempts_by(Attacker::Stranger).count(), Operation::ALL.len());
    assert_eq!(fake.shared.tables().revoked, 0, "given tokens are not the probe's to revoke");
}

#[tokio::test]
async fn a_given_refresh_token_is_redeemed_for_its_client() {
    let fake = Fake::start(Hole::None).await;
    let (access, refresh) = fake.issue("alice");
    let refresh = Some((Secret::new(refresh), Client::registered("client-1", None)));
    let owner = Entry::Given(Given { name: "alice".into(), access: Secret::new(access), refreshed: None, refresh });
    let principals = Principals { owner, stranger: given(&fake, "mallory", false) };
    let report = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.refresh.new_bytes, report.refresh.same_subject), (Some(true), Some(true)));
    assert_eq!(fake.shared.tables().revoked, 0, "given tokens are not the probe's to revoke");
}

#[tokio::test]
async fn without_a_second_token_or_a_second_principal_the_report_says_so() {
    let fake = Fake::start(Hole::None).await;
    let principals = Principals { owner: given(&fake, "alice", false), stranger: Entry::Nobody };
    let report = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap();
    let gaps: Vec<_> = report.not_examined.iter().map(|gap| gap.what.as_str()).collect();
    assert_eq!(gaps, ["what survives a refresh", Attacker::Stranger.words()]);
    assert!(report.attempts_by(Attacker::MadeUpSession).count() >= 20, "the rest is examined");
}

#[tokio::test]
async fn a_strangers_token_that_works_nowhere_proves_nothing() {
    let fake = Fake::start(Hole::None).await;
    let stranger = given(&fake, "mallory", false);
    fake.shared.tables().tokens.remove("mallory-1");
    let principals = Principals { owner: given(&fake, "alice", true), stranger };
    let report = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap();
    assert_eq!(report.attempts_by(Attacker::Stranger).count(), 0);
    assert!(report.not_examined.iter().any(|gap| gap.why.contains("401")), "{:?}", report.not_examined);
}

#[tokio::test]
async fn two_logins_of_the_same_user_are_no_two_principals() {
    let fake = Fake::start(Hole::None).await;
    let principals = Principals { owner: login("alice"), stranger: login("alice") };
    let error = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap_err();
    assert!(error.to_string().contains("two different users"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_said_without_the_password() {
    let fake = Fake::with(Hole::None, Kind::Guarded, LoginPage::Form).await;
    let wrong = hawser_probe::oauth::Login { user: "alice".into(), password: Some(Secret::new("s3cr3t-guess")) };
    let principals = Principals { owner: Entry::Login(wrong), stranger: Entry::Nobody };
    let error = hawser_probe::examine(&target(&fake), &principals, &mut |_: &Event<'_>| {}).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("403") && text.contains("alice") && !text.contains("s3cr3t"), "{text}");
}

#[tokio::test]
async fn no_token_and_no_session_id_reaches_the_report() {
    let fake = Fake::start(Hole::NoBinding).await;
    let mut events = Vec::new();
    let principals = Principals { owner: login("alice"), stranger: login("mallory") };
    let mut observer = |event: &Event<'_>| events.push(serde_json::to_string(event).unwrap());
    let report = hawser_probe::examine(&target(&fake), &principals, &mut observer).await.unwrap();
    let texts = [
        serde_json::to_string(&report).unwrap(),
        hawser_probe::text::report(&report, hawser_probe::text::Colour::Off),
        events.concat(),
    ];
    let tokens: Vec<String> = fake.shared.tables().tokens.keys().cloned().collect();
    assert!(tokens.len() >= 3);
    for text in texts {
        assert!(tokens.iter().all(|token| !text.contains(token.as_str())), "{text}");
        assert!(!text.contains('\u{1b}') && text.contains("tools/call") || text.contains("tools_call"), "{text}");
    }
}
