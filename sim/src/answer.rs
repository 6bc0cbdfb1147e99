//! Reading what is answered to a request about a call, message by message: a JSON body or a stream.

use std::collections::VecDeque;

use hawser_gateway::Body;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::calls::Ended;

/// An answer that is being read.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    body: Body,
    is_stream: bool,
    text: String,
    messages: VecDeque<Value>,
    /// The id of the last event that had one.
    pub last_event: Option<String>,
}

/// What comes next in an answer.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Message(Value),
    /// No more.
    End,
    /// It broke off.
    Broken,
}

impl Answer {
    /// The answer that begins with this.
    pub fn new(response: Response<Body>) -> Self {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        let status = response.status();
        let (text, messages) = (String::new(), VecDeque::new());
        Self { status, body: response.into_body(), is_stream, text, messages, last_event: None }
    }

    /// The next message.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Next::Message(message);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.text.push_str(&String::from_utf8_lossy(&data));
                    }
                    if self.is_stream {
                        self.take_events();
                    }
                }
                Some(Err(_)) => return Next::Broken,
                None if self.text.is_empty() || self.is_stream => return Next::End,
                None => {
                    let text = std::mem::take(&mut self.text);
                    return serde_json::from_str(&text).map_or(Next::Broken, Next::Message);
                }
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(end) = self.text.find("\n\n") {
            let event: String = self.text.drain(..end + 2).collect();
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let Some(id) = field("id:") {
                self.last_event = Some(id.to_owned());
            }
            self.messages.extend(field("data:").and_then(|data| serde_json::from_str(data).ok()));
        }
    }

    /// How the call ended, or what the server asks in the middle of it.
    pub async fn end(&mut self) -> Result<Value, Ended> {
        loop {
            match self.next().await {
                Next::Message(message) if message.get("method").is_none() => return Err(self.ended(&message)),
                Next::Message(message) if message.get("id").is_some() => return Ok(message),
                Next::Message(_) => {}
                // A stream that ends without an answer is to be taken up again.
                Next::End if self.status == StatusCode::OK => return Err(Ended::Lost),
                Next::End => return Err(Ended::Refused(self.status.as_u16())),
                Next::Broken => return Err(Ended::Lost),
            }
        }
    }

    fn ended(&self, message: &Value) -> Ended {
        let result = &message["result"];
        if let Some(error) = message["error"]["message"].as_str() {
            return match self.status {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_FOUND => Ended::Refused(self.status.as_u16()),
                _ => Ended::Failed(error.to_owned()),
            };
        }
        match result["requestState"].as_str() {
            Some(state) if result["resultType"] == "input_required" => {
                Ended::Asked { state: state.to_owned(), questions: result["inputRequests"].clone() }
            }
            _ if result["isError"] == true => Ended::Failed("nobody answered".to_owned()),
            _ => Ended::Done(result.clone()),
        }
    }
}
