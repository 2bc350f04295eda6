//! The table of metrics in `deploy/monitoring`, and what a program serves.

use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("../../deploy/monitoring/README.md");

/// A metric as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    pub labels: BTreeSet<String>,
    /// `server`, `agent` or `both`.
    pub program: String,
}

/// The table, by the names by which Prometheus is asked; of a histogram the name without a suffix.
///
/// # Panics
/// When a row is not of its form, or stands twice.
pub fn table() -> BTreeMap<String, Metric> {
    let mut table = BTreeMap::new();
    for row in TABLE.lines().filter(|line| line.starts_with("| `elbow_")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, program, _] = cells[..] else {
            panic!("five cells: {row}");
        };
        let labels = labels.split(',').map(|label| label.trim().to_owned());
        let metric = Metric {
            kind: kind.to_owned(),
            labels: labels.filter(|label| !label.is_empty()).collect(),
            program: program.to_owned(),
        };
        let former = table.insert(name.trim_matches('`').to_owned(), metric);
        assert!(former.is_none(), "twice: {row}");
    }
    assert!(table.len() > 40, "the table is not found");
    table
}

/// What a program serves at `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// The kind of each metric, by the names of the table.
    pub kinds: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Exported {
    /// Reads the OpenMetrics text.
    ///
    /// # Panics
    /// When it is none.
    pub fn read(text: &str) -> Self {
        let mut exported = Self::default();
        assert!(text.ends_with("# EOF\n"), "it is cut off");
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (family, kind) = kind.split_once(' ').expect("a name and a kind");
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                exported
                    .kinds
                    .insert(format!("{family}{suffix}"), kind.to_owned());
            } else if !line.starts_with('#') {
                exported.samples.push(sample(line));
            }
        }
        exported
    }

    /// The label names of a metric, but for `le`; `None`: it has no value yet.
    pub fn labels(&self, metric: &str) -> Option<BTreeSet<String>> {
        let of = |sample: &&Sample| {
            let rest = sample.name.strip_prefix(metric);
            rest.is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        };
        let mut labels = self
            .samples
            .iter()
            .filter(of)
            .map(|sample| &sample.labels)
            .peekable();
        labels.peek()?;
        let names = labels.flat_map(BTreeMap::keys).filter(|name| *name != "le");
        Some(names.cloned().collect())
    }

    /// The sum of the values of this name whose labels have these values.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let chosen =
                |(label, value): &(&str, &str)| sample.labels.get(*label).map(String::as_str) == Some(value);
            sample.name == name && labels.iter().all(chosen)
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }
}

/// `name{label="value",…} 1.0`; no label value of ours has a quote or a comma.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a name and a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Sample {
        name: name.to_owned(),
        labels: labels.collect(),
        value: value.parse().expect("a number"),
    }
}
