//! `weft call --stream`: prints the parts of an answer as they come, then the answer.

use serde::Serialize;
use serde::de::DeserializeOwned;
use weft_protocol::control::{CallReport, CallRequest, ErrorBody, PartEvent};

use super::client::{Client, Pieces, name_and_data};
use super::messages::{body_text, call_line};
use super::output::{Output, dim};
use super::{At, CliError};

/// Calls, and prints what comes. The connection is the call: whoever ends this program cancels it.
pub(super) async fn call(request: CallRequest, at: &At) -> Result<(), CliError> {
    let body = Client::of(at)?.post_stream("/v1/call", &request).await?;
    let (output, mut events) = (Output::new(at.json), Pieces::named_events(body));
    let mut printed = Printed::default();
    loop {
        let event = match events.next().await {
            Ok(event) => event,
            Err(error) => return Err(printed.break_off(output).err().unwrap_or(error)),
        };
        let Some((name, data)) = event.as_deref().and_then(name_and_data) else {
            printed.break_off(output)?;
            let message = "the node ended before the answer was there";
            return Err(CliError::new("failed", message).hint("weft status").changed());
        };
        match name.as_str() {
            "part" => printed.part(output, &read(&data)?)?,
            "answer" => return printed.answer(output, &read(&data)?),
            "error" => {
                printed.break_off(output)?;
                let ErrorBody { error } = read(&data)?;
                return Err(error.into());
            }
            // What a later node says besides is not for this program.
            _ => {}
        }
    }
}

fn read<T: DeserializeOwned>(data: &str) -> Result<T, CliError> {
    serde_json::from_str(data)
        .map_err(|error| CliError::new("failed", format!("the node sent no part of an answer: {error}")).changed())
}

/// What stands on the terminal.
#[derive(Debug, Default)]
struct Printed {
    /// Whether the last line is open.
    open: bool,
}

impl Printed {
    /// Text as it is: where a line ends is the agent's to say.
    fn part(&mut self, output: Output, part: &PartEvent) -> Result<(), CliError> {
        #[derive(Serialize)]
        struct Line<'a> {
            part: &'a PartEvent,
        }
        if output.json() {
            return output.object(&Line { part });
        }
        let text = body_text(&part.payload);
        self.open = if text.is_empty() { self.open } else { !text.ends_with('\n') };
        output.piece(&text)
    }

    fn answer(&mut self, output: Output, report: &CallReport) -> Result<(), CliError> {
        #[derive(Serialize)]
        struct Line<'a> {
            answer: &'a CallReport,
        }
        self.break_off(output)?;
        if output.json() {
            output.object(&Line { answer: report })?;
        } else {
            output.text(&report.reply.as_ref().map_or_else(String::new, body_text))?;
        }
        output.remark(&dim(&call_line(report)));
        Ok(())
    }

    /// Ends the line that parts left open.
    fn break_off(&mut self, output: Output) -> Result<(), CliError> {
        if std::mem::take(&mut self.open) { output.piece("\n") } else { Ok(()) }
    }
}
