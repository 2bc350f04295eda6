//! Writing XML: elements, text, lists. Everything that is written is escaped here.

use std::fmt::{self, Display, Write};

/// A piece of XML that grows.
#[derive(Debug, Default, Clone)]
pub(crate) struct Xml {
    out: String,
}

impl Xml {
    /// A piece without the XML declaration.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn document() -> Self {
        Self {
            out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
        }
    }

    pub(crate) fn within(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.push(format_args!("<{name}>"));
        fill(self);
        self.push(format_args!("</{name}>"));
    }

    pub(crate) fn within_namespace(&mut self, name: &str, namespace: &str, fill: impl FnOnce(&mut Self)) {
        self.push(format_args!("<{name} xmlns=\"{namespace}\">"));
        fill(self);
        self.push(format_args!("</{name}>"));
    }

    pub(crate) fn text(&mut self, name: &str, value: impl Display) {
        self.push(format_args!("<{name}>"));
        write!(Escaping(&mut self.out), "{value}").expect("writing to a String cannot fail");
        self.push(format_args!("</{name}>"));
    }

    /// Nothing at all when there is no value.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A list whose items are structures.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        item: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Self, T),
    ) {
        self.within(name, |xml| {
            for value in items {
                xml.within(item, |xml| fill(xml, value));
            }
        });
    }

    /// A list whose items are values.
    pub(crate) fn texts(&mut self, name: &str, item: &str, items: impl IntoIterator<Item = impl Display>) {
        self.within(name, |xml| {
            for value in items {
                xml.text(item, value);
            }
        });
    }

    pub(crate) fn append(&mut self, piece: &Self) {
        self.out.push_str(&piece.out);
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn push(&mut self, markup: fmt::Arguments<'_>) {
        self.out
            .write_fmt(markup)
            .expect("writing to a String cannot fail");
    }
}

struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(&quick_xml::escape::escape(text));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_absent_values_leave_no_trace() {
        let mut xml = Xml::new();
        xml.within("A", |xml| {
            xml.text("B", "<&>\"");
            xml.maybe("C", None::<u16>);
            xml.texts("D", "member", [1, 2]);
        });
        assert_eq!(
            xml.finish(),
            "<A><B>&lt;&amp;&gt;&quot;</B><D><member>1</member><member>2</member></D></A>"
        );
    }
}
