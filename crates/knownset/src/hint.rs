//! Errors for people: the chain of causes, and what to do about it.

use std::fmt;

/// Context that says what to do; printed last, as `hint: …`.
#[derive(Debug)]
pub(crate) struct Hint(pub(crate) String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text for stderr: `error: …`, a `caused by` line per cause, a `hint` line.
pub(crate) fn render(error: &anyhow::Error) -> String {
    // A hint is attached as context, so it is the outermost link of the part of the chain it belongs to.
    let hint = error.downcast_ref::<Hint>().map(ToString::to_string);
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let is_hint = hint.as_ref() == Some(&text);
        // A wrapper that prints its source says the same twice.
        if !is_hint && lines.last().is_none_or(|last| !last.ends_with(&text)) {
            lines.push(text);
        }
    }
    let mut text = lines.iter().enumerate().fold(String::new(), |text, (index, line)| {
        text + if index == 0 { "error: " } else { "\n  caused by: " } + line
    });
    if let Some(hint) = hint {
        text = format!("{text}\n\nhint: {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_listed_and_the_hint_comes_last() {
        let error = anyhow::anyhow!("no such file").context("cannot read x").context(Hint("make it".into()));
        let error = Err::<(), _>(error).context("cannot start").unwrap_err();
        assert_eq!(
            render(&error),
            "error: cannot start\n  caused by: cannot read x\n  caused by: no such file\n\nhint: make it"
        );
    }
}
