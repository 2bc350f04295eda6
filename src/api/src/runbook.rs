//! The runbooks of `deploy/runbooks`: a page per family, a section per condition reason, hold reason, problem or alert. They
//! are served without asking who reads, so that the `type` of a problem leads to its section.

use axum::{
    Router,
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::problem::{Kind, Problem};

/// What is explained together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The reasons of a binding's `Ready` condition.
    Conditions,
    /// Why work is held back.
    Holds,
    /// The types of problems, by their last segment.
    Problems,
    /// The alerts that are shipped.
    Alerts,
}

/// What a section begins with.
const HEADING: &str = "### ";

impl Family {
    pub const ALL: [Self; 4] = [Self::Conditions, Self::Holds, Self::Problems, Self::Alerts];

    /// As it stands in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conditions => "conditions",
            Self::Holds => "holds",
            Self::Problems => "problems",
            Self::Alerts => "alerts",
        }
    }

    /// The whole page, in Markdown.
    pub fn page(self) -> &'static str {
        match self {
            Self::Conditions => include_str!("../../../deploy/runbooks/conditions.md"),
            Self::Holds => include_str!("../../../deploy/runbooks/holds.md"),
            Self::Problems => include_str!("../../../deploy/runbooks/problems.md"),
            Self::Alerts => include_str!("../../../deploy/runbooks/alerts.md"),
        }
    }

    /// The sections of the page by what they are about, heading included.
    pub fn sections(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let page = self.page();
        let starts = page.match_indices(HEADING).map(|(start, _)| start);
        let starts: Vec<_> = starts
            .filter(|start| *start == 0 || page[..*start].ends_with('\n'))
            .collect();
        let ends = starts.iter().copied().skip(1).chain([page.len()]);
        let sections: Vec<_> = starts.iter().copied().zip(ends).collect();
        sections.into_iter().map(move |(start, end)| {
            let text = &page[start..end];
            let name = text[HEADING.len()..].lines().next().unwrap_or_default();
            (name, text.trim_end())
        })
    }

    fn section(self, name: &str) -> Option<&'static str> {
        self.sections()
            .find(|(about, _)| about.eq_ignore_ascii_case(name))
            .map(|(_, text)| text)
    }
}

/// `/problems/{name}`, `/runbooks/{family}` and `/runbooks/{family}/{name}`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(
            "/problems/{name}",
            get(|Path(name): Path<String>| async move { answer(Family::Problems.section(&name), &name) }),
        )
        .route(
            "/runbooks/{family}",
            get(
                |Path(family): Path<String>| async move { answer(named(&family).map(Family::page), &family) },
            ),
        )
        .route(
            "/runbooks/{family}/{name}",
            get(|Path((family, name)): Path<(String, String)>| async move {
                answer(named(&family).and_then(|family| family.section(&name)), &name)
            }),
        )
}

fn named(family: &str) -> Option<Family> {
    Family::ALL.into_iter().find(|it| it.name() == family)
}

fn answer(text: Option<&'static str>, asked: &str) -> Response {
    if let Some(text) = text {
        return ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response();
    }
    let families = Family::ALL.map(Family::name).join(", ");
    let detail = format!(
        "no runbook is about `{}`; there are /runbooks/{{{families}}}",
        asked.escape_debug()
    );
    Problem::new(Kind::NoSuchRoute, detail).into_response()
}
