//! What was measured: rows with their bound, goal and verdict, as a table and as JSON.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// `scenario.figure`.
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What the reference of the same run comes to, in the same unit.
    pub bound: Option<f64>,
    /// `value / bound`.
    pub ratio: Option<f64>,
    pub goal: Option<Goal>,
    pub met: Option<bool>,
    /// Of a short run: often with a smaller load than the goal is meant for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quick: bool,
}

/// What a figure should come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtMost(f64),
}

impl Row {
    /// A figure for its own sake.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, bound: None, ratio: None, goal: None, met: None, quick: false }
    }

    /// Beside what the reference came to.
    #[must_use]
    pub fn beside(self, bound: f64) -> Self {
        Self { bound: Some(bound), ratio: Some(self.value / bound), ..self }
    }

    #[must_use]
    pub fn goal(self, goal: Goal) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        let met = match goal {
            Goal::RatioAtLeast(least) => ratio >= least,
            Goal::RatioAtMost(most) => ratio <= most,
            Goal::AtMost(most) => self.value <= most,
        };
        Self { goal: Some(goal), met: Some(met), ..self }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(least) => write!(f, "ratio ≥ {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio ≤ {most}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The middle one; of two, the lower.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The rows as a table in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| figure | value | unit | bound | ratio | goal | met |\n|---|--:|---|--:|--:|---|---|\n",
    );
    for row in rows {
        let bound = row.bound.map(number).unwrap_or_default();
        let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let goal = row.goal.map(|goal| goal.to_string()).unwrap_or_default();
        let met = match (row.met, row.quick) {
            (None, _) => "",
            (Some(true), false) => "yes",
            (Some(false), false) => "**no**",
            (Some(true), true) => "yes, in short",
            (Some(false), true) => "**no**, in short",
        };
        let (name, value, unit) = (&row.name, number(row.value), row.unit);
        let _ = writeln!(out, "| {name} | {value} | {unit} | {bound} | {ratio} | {goal} | {met} |");
    }
    out
}

/// Three significant digits, and thousands apart.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(w, r)| (w, Some(r)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && digit.is_ascii_digit() && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    rest.map_or(out.clone(), |rest| format!("{out}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_held_against_its_goal() {
        let row = Row::new("a.b", 70.0, "x/s").beside(100.0).goal(Goal::RatioAtLeast(0.7));
        assert_eq!((row.ratio, row.met), (Some(0.7), Some(true)));
        let row = Row::new("a.b", 5.0, "s").goal(Goal::AtMost(4.0));
        assert_eq!((row.ratio, row.met), (None, Some(false)));
        // A ratio that was never measured meets nothing.
        assert_eq!(Row::new("a.b", 5.0, "s").goal(Goal::RatioAtMost(4.0)).met, Some(false));
    }

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (0.1234, "0.1234"), (3.456, "3.46"), (45.67, "45.7"), (1_234_567.8, "1,234,568")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }
}
