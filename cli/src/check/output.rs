// SPDX-License-Identifier: Apache-2.0
//! Prints the findings as text, as JSON, or as annotations of GitHub's workflows.

use std::fmt::Write;

use folder::manifest::Mistake;

use super::Findings;
use crate::args::Style;

impl Findings {
    /// True if nothing is wrong; `hints` says whether hints count.
    #[must_use]
    pub fn is_clean(&self, hints: bool) -> bool {
        self.mistakes.is_empty() && (self.hints.is_empty() || !hints)
    }

    /// The text in a style, ready to be printed.
    #[must_use]
    pub fn print(&self, style: Style) -> String {
        match style {
            Style::Text => self.text(),
            Style::Json => format!("{:#}\n", serde_json::json!(self)),
            Style::Github => {
                let mut text = String::new();
                for (level, list) in [("error", &self.mistakes), ("warning", &self.hints)] {
                    list.iter().for_each(|it| text.push_str(&annotation(level, it)));
                }
                text + &self.verdict()
            }
        }
    }

    /// The text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for mistake in &self.mistakes {
            let _ = writeln!(text, "{mistake}");
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint: {hint}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text + &self.verdict()
    }

    fn verdict(&self) -> String {
        let count = |count: usize, one: &str| match count {
            0 => format!("no {one}s"),
            1 => format!("1 {one}"),
            count => format!("{count} {one}s"),
        };
        let mut counts = count(self.mistakes.len(), "mistake");
        if !self.hints.is_empty() {
            counts = format!("{counts} and {}", count(self.hints.len(), "hint"));
        }
        let mut objects: Vec<String> =
            self.objects.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if self.ignored > 0 {
            objects.push(format!("{} of kinds that ferrolb has no use for", self.ignored));
        }
        if objects.is_empty() {
            objects.push("no objects".to_owned());
        }
        format!("{counts} in {}\n", objects.join(", "))
    }
}

/// A command of GitHub's workflows, with the signs escaped that have a meaning of their own there.
fn annotation(level: &str, mistake: &Mistake) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut places = vec![format!("file={}", property(&mistake.file.display().to_string()))];
    places.extend(mistake.line.map(|line| format!("line={line}")));
    places.extend(mistake.object.as_ref().map(|object| format!("title={}", property(object))));
    let field = mistake.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
    format!("::{level} {}::{}\n", places.join(","), data(&format!("{field}{}", mistake.message)))
}
