//! Questions of a modern server to a legacy client, put to it one by one under ids of the link's own, and their answers
//! collected (MCP 2026-07-28, Multi Round-Trip Requests).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hawser_mcp::{
    ErrorObject, INPUT_REQUESTS_MAX, InputRequest, Message, Outcome, RawJson, Request, RequestId, Response, code,
    method,
};
use tokio::sync::mpsc;

use super::wire::Port;
use crate::exchange::ExchangeItem;
use crate::hello::quote_error;

/// The questions of one session that wait for an answer.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<HashMap<u64, mpsc::Sender<(u64, Outcome)>>>);

impl Answers {
    /// Hands in an answer; one that nobody waits for is forgotten.
    pub(crate) fn deliver(&self, response: Response) {
        let Some(id) = response.id.as_ref().and_then(RequestId::as_number) else { return };
        if let Some(waiting) = self.waiting(|waiting| waiting.remove(&id)) {
            // There is room for one answer to each question.
            let _ = waiting.try_send((id, response.outcome));
        }
    }

    fn waiting<T>(&self, act: impl FnOnce(&mut HashMap<u64, mpsc::Sender<(u64, Outcome)>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One round of questions.
#[derive(Debug)]
pub(crate) struct Round {
    port: Port,
    answers: Arc<Answers>,
    /// The exchange they belong to.
    exchange: u64,
    questions: Vec<Question>,
    asked: usize,
    sender: mpsc::Sender<(u64, Outcome)>,
    receiver: mpsc::Receiver<(u64, Outcome)>,
}

#[derive(Debug)]
struct Question {
    id: u64,
    key: String,
    request: InputRequest,
    answer: Option<RawJson>,
}

/// What comes next in a round.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This is to be put to the client.
    Ask(ExchangeItem),
    /// One more answer is there.
    Answered,
    /// All answers are there, by the keys of the questions.
    Done(Vec<(String, RawJson)>),
    /// There will be no answer, and none that would say so.
    Abandoned(ErrorObject),
}

impl Round {
    pub(crate) fn new(
        port: &Port,
        answers: &Arc<Answers>,
        exchange: u64,
        requests: Vec<(String, InputRequest)>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(INPUT_REQUESTS_MAX);
        let question = |(key, request)| Question { id: port.fresh_id(), key, request, answer: None };
        let questions = requests.into_iter().take(INPUT_REQUESTS_MAX).map(question).collect();
        Self { port: port.clone(), answers: Arc::clone(answers), exchange, questions, asked: 0, sender, receiver }
    }

    /// What comes next. Cancel safe.
    pub(crate) async fn next(&mut self) -> Turn {
        if let Some(question) = self.questions.get(self.asked) {
            self.asked += 1;
            let (id, params) = (RequestId::number(question.id), question.request.params.clone());
            let request = Request { id, method: question.request.method.clone(), params };
            self.answers.waiting(|waiting| waiting.insert(question.id, self.sender.clone()));
            self.port.state.heard(&Message::Request(request.clone()), Some(self.exchange));
            return Turn::Ask(ExchangeItem::Request(request));
        }
        if self.questions.iter().all(|question| question.answer.is_some()) {
            let answered = self.questions.drain(..).filter_map(|question| Some((question.key, question.answer?)));
            return Turn::Done(answered.collect());
        }
        // A sender of it is held here, so it does not end.
        match self.receiver.recv().await {
            Some((id, outcome)) => self.take(id, outcome),
            None => Turn::Abandoned(ErrorObject::new(code::INTERNAL_ERROR, "nobody is left to answer the server")),
        }
    }

    fn take(&mut self, id: u64, outcome: Outcome) -> Turn {
        let Some(question) = self.questions.iter_mut().find(|question| question.id == id) else {
            return Turn::Answered;
        };
        match outcome {
            Outcome::Result(answer) => question.answer = Some(answer),
            // "User dismissed without making an explicit choice […], browser failed to load, etc." (Elicitation, Response
            // Actions). The other two have no way to say it: "the client does not need to replay the initial call".
            Outcome::Error(_) if question.request.method == method::ELICITATION_CREATE => {
                question.answer = Some(RawJson::object(&[("action", &RawJson::string("cancel"))]));
            }
            Outcome::Error(error) => {
                let (error_code, message) = quote_error(&error);
                let asked = &question.request.method;
                let text = format!("the request needed {asked}, which the client refused: {message} ({error_code})");
                return Turn::Abandoned(ErrorObject::new(code::INTERNAL_ERROR, text));
            }
        }
        Turn::Answered
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.answers.waiting(|waiting| {
            for question in &self.questions {
                waiting.remove(&question.id);
            }
        });
    }
}
