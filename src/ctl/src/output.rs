//! How results are written: tables for people, JSON and YAML for programs, names for shells.

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets::NOTHING};
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use crate::{Console, Error, kind::Kind, manifest};

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    Json,
    Yaml,
    /// KIND/NAME, one a line.
    Name,
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// How the result is written.
    #[arg(long = "output", short = 'o', value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// A column of a kind's table.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    wide: bool,
    cell: fn(&Value, Timestamp) -> String,
}

impl Column {
    pub(crate) fn new(name: &'static str, cell: fn(&Value, Timestamp) -> String) -> Self {
        Self {
            name,
            wide: false,
            cell,
        }
    }

    /// Only shown by `-o wide`.
    pub(crate) fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> String) -> Self {
        Self {
            name,
            wide: true,
            cell,
        }
    }
}

/// Writes a list.
pub(crate) fn list(console: &mut Console, format: Format, kind: Kind, items: &[Value]) -> Result<(), Error> {
    match format {
        Format::Table | Format::Wide if items.is_empty() => console.line("nothing found"),
        Format::Table | Format::Wide => {
            let text = table(&kind.columns(), items, format == Format::Wide, console.now);
            console.print(&text)
        }
        Format::Name => items.iter().try_for_each(|item| name(console, kind, item)),
        Format::Json | Format::Yaml => {
            let items: Vec<_> = items.iter().map(|item| manifest::of(kind, item)).collect();
            let list = json!({ "apiVersion": manifest::API_VERSION, "kind": "List", "items": items });
            value(console, format, &list)
        }
    }
}

/// Writes one resource.
pub(crate) fn one(console: &mut Console, format: Format, kind: Kind, item: &Value) -> Result<(), Error> {
    match format {
        Format::Json | Format::Yaml => value(console, format, &manifest::of(kind, item)),
        Format::Table | Format::Wide | Format::Name => {
            list(console, format, kind, std::slice::from_ref(item))
        }
    }
}

fn name(console: &mut Console, kind: Kind, item: &Value) -> Result<(), Error> {
    console.line(format_args!("{}/{}", kind.singular(), kind.name_of(item)))
}

/// Writes what is no resource of a kind; as YAML where a table was asked for.
pub(crate) fn value(console: &mut Console, format: Format, value: &Value) -> Result<(), Error> {
    if format == Format::Json {
        return console.line(format_args!("{value:#}"));
    }
    console.print(&yaml(value))
}

pub(crate) fn yaml(value: &Value) -> String {
    let mut text = serde_saphyr::to_string(value).expect("JSON can be written as YAML");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

pub(crate) fn table(columns: &[Column], items: &[Value], wide: bool, now: Timestamp) -> String {
    let columns: Vec<_> = columns.iter().filter(|column| wide || !column.wide).collect();
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|column| column.name));
    for item in items {
        table.add_row(columns.iter().map(|column| match (column.cell)(item, now) {
            cell if cell.is_empty() => "-".to_owned(),
            cell => cell,
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// The text of a field; empty if there is none.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The texts of a list of names.
pub(crate) fn texts(value: &Value, pointer: &str) -> String {
    let items = value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// How long a list is; empty if it is not known.
pub(crate) fn count(value: &Value, pointer: &str) -> String {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.map(|list| list.len().to_string()).unwrap_or_default()
}

/// How long ago a moment was, as kubectl says it: `45s`, `12m`, `3h`, `5d`.
pub(crate) fn age(value: &Value, pointer: &str, now: Timestamp) -> String {
    let Some(at) = value
        .pointer(pointer)
        .and_then(Value::as_str)
        .and_then(|at| at.parse::<Timestamp>().ok())
    else {
        return String::new();
    };
    let seconds = now
        .since((Unit::Second, at))
        .map_or(0, |span| span.get_seconds().max(0));
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-25T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_age_has_the_unit_that_a_person_would_choose() {
        for (at, said) in [
            ("2026-11-25T11:59:30Z", "30s"),
            ("2026-11-25T11:30:00Z", "30m"),
            ("2026-11-25T09:00:00Z", "3h"),
            ("2026-11-15T12:00:00Z", "10d"),
            // Clocks differ.
            ("2026-11-25T12:00:05Z", "0s"),
        ] {
            assert_eq!(age(&json!({ "at": at }), "/at", now()), said);
        }
        assert_eq!(age(&json!({}), "/at", now()), "");
    }

    #[test]
    fn a_table_shows_a_dash_for_what_is_not_known() {
        let columns = [
            Column::new("NAME", |it, _| text(it, "/name")),
            Column::new("PORT", |it, _| text(it, "/port")),
            Column::wide("MORE", |_, _| "x".to_owned()),
        ];
        let items = [
            json!({"name": "web", "port": 80}),
            json!({"name": "a-longer-one"}),
        ];
        assert_eq!(
            table(&columns, &items, false, now()),
            "NAME           PORT\nweb            80\na-longer-one   -\n"
        );
        assert!(table(&columns, &items, true, now()).contains("MORE"));
    }

    #[test]
    fn yaml_reads_back_as_what_was_written() {
        let value = json!({"a": ["no", "1e3", "0x10", "", "- x", "2026-11-25"], "b": {"c": null, "d": 1, "e": "x: y\n# z"}});
        let read: Value = serde_saphyr::from_str(&yaml(&value)).unwrap();
        assert_eq!(read, value);
    }
}
