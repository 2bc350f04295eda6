//! What a statement about objects means for the bindings that are stored: pure.

use std::collections::{HashMap, HashSet};

use model::{
    BindingId,
    binding::BindingSpec,
    condition::{Problem, Reason},
    fact::{ObjectName, ObjectVersion},
    ownership::{Marks, Serve, Standing},
    stream::{Change, Source, Tombstone},
};
use serde_json::Value;

use super::JudgedSource;

/// A stored binding of an object.
#[derive(Clone, Debug)]
pub(super) struct Existing {
    pub(super) id: BindingId,
    pub(super) object: ObjectName,
    pub(super) version: ObjectVersion,
    pub(super) generation: i64,
    pub(super) source: Value,
    pub(super) spec: Option<BindingSpec>,
    pub(super) problem: Option<Problem>,
    pub(super) deleted: bool,
    pub(super) held: bool,
    pub(super) marks: Option<Marks>,
    pub(super) standing: Standing,
    /// Whether an operator ever took it over.
    pub(super) adopted: bool,
}

/// A row to write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) object: ObjectName,
    pub(super) version: ObjectVersion,
    pub(super) generation: i64,
    pub(super) source: Value,
    pub(super) spec: Option<BindingSpec>,
    pub(super) problem: Option<Problem>,
    pub(super) marks: Option<Marks>,
    pub(super) standing: Standing,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) inserted: Vec<Row>,
    /// Written over what was there. One that was deleted has returned.
    pub(super) updated: Vec<(BindingId, Row)>,
    /// Replaced by a binding of the same name to another target group: let go, and no loss of a binding.
    pub(super) replaced: Vec<BindingId>,
    /// Taken away.
    pub(super) deleted: Vec<BindingId>,
    pub(super) ignored: u64,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            inserted,
            updated,
            replaced,
            deleted,
            ignored: _,
        } = self;
        inserted.is_empty() && updated.is_empty() && replaced.is_empty() && deleted.is_empty()
    }
}

/// What a verdict on a text makes of a binding that had `before`: a text in error keeps what it had, and the target
/// group never changes.
pub(crate) fn judge(
    before: Option<&BindingSpec>,
    verdict: &Result<BindingSpec, Problem>,
) -> (Option<BindingSpec>, Option<Problem>) {
    match (before, verdict) {
        (before, Err(problem)) => (before.cloned(), Some(problem.clone())),
        (Some(before), Ok(spec)) if before.target_group != spec.target_group => {
            let message = format!(
                "the target group of a binding cannot change and stays {}: delete the object and create it anew",
                before.target_group
            );
            (
                Some(before.clone()),
                Some(Problem::at(
                    Reason::ImmutableField,
                    "spec.targetGroupARN",
                    message,
                )),
            )
        }
        (_, Ok(spec)) => (Some(spec.clone()), None),
    }
}

/// Compares what is stored with what is stated. An object with a deletion timestamp counts as deleted.
pub(super) fn compare(existing: &[Existing], change: &Change<JudgedSource>, serve: Serve) -> Changes {
    let mut changes = Changes::default();
    let mut stored: HashMap<&ObjectName, Vec<&Existing>> = HashMap::new();
    for one in existing {
        stored.entry(&one.object).or_default().push(one);
    }
    let (stated, tombstones): (&[JudgedSource], &[Tombstone]) = match change {
        Change::Reset(objects) => (objects, &[]),
        Change::Patch { upserted, deleted } => (upserted, deleted),
    };
    let mut present = HashSet::new();
    for JudgedSource { source, verdict } in stated {
        present.insert(&source.object);
        let rows = stored.get(&source.object).map_or(&[][..], Vec::as_slice);
        if source.deleting {
            changes.delete(rows, |row| row.version.uid == source.version.uid);
        } else {
            changes.upsert(rows, source, verdict, serve);
        }
    }
    if let Change::Reset(_) = change {
        for (object, rows) in &stored {
            if !present.contains(object) {
                changes.delete(rows, |_| true);
            }
        }
    }
    for tombstone in tombstones
        .iter()
        .filter(|tombstone| !present.contains(&tombstone.object))
    {
        let rows = stored.get(&tombstone.object).map_or(&[][..], Vec::as_slice);
        changes.delete(rows, |row| row.version.uid == tombstone.uid);
    }
    changes.deleted.sort_unstable();
    changes
}

impl Changes {
    fn delete(&mut self, rows: &[&Existing], is_meant: impl Fn(&Existing) -> bool) {
        match rows.iter().find(|row| !row.deleted) {
            Some(row) if is_meant(row) => self.deleted.push(row.id),
            _ => self.ignored += 1,
        }
    }

    fn upsert(
        &mut self,
        rows: &[&Existing],
        source: &Source,
        verdict: &Result<BindingSpec, Problem>,
        serve: Serve,
    ) {
        let active = rows.iter().find(|row| !row.deleted).copied();
        let is_older = |row: &&&Existing| {
            row.version.uid == source.version.uid
                && row.version.resource_version > source.version.resource_version
        };
        if rows.iter().find(is_older).is_some() {
            self.ignored += 1;
            return;
        }
        // A binding that returns is the binding that was there: its targets never lose their owner. A text in error has
        // returned only if it is the same object.
        let continues = |row: &&&Existing| match (&row.spec, verdict) {
            _ if row.version.uid == source.version.uid => true,
            (Some(before), Ok(spec)) => before.target_group == spec.target_group,
            (None, _) => true,
            (Some(_), Err(_)) => !row.deleted,
        };
        let returned = || {
            rows.iter()
                .filter(|row| row.deleted)
                .filter(continues)
                .max_by_key(|row| row.held)
                .copied()
        };
        let continued = active
            .as_ref()
            .filter(continues)
            .copied()
            .or_else(|| active.is_none().then(returned).flatten());
        if let Ok(spec) = verdict {
            let elsewhere = |row: &&&Existing| {
                row.spec
                    .as_ref()
                    .is_some_and(|before| before.target_group != spec.target_group)
                    && row.version.uid != source.version.uid
            };
            // The name is bound to another group now; what it had elsewhere is let go on purpose.
            let replaced = rows
                .iter()
                .filter(|row| !row.deleted || row.held)
                .filter(elsewhere);
            self.replaced.extend(replaced.map(|row| row.id));
        }
        let (spec, problem) = judge(continued.and_then(|row| row.spec.as_ref()), verdict);
        // What an agent does not state is what it was.
        let marks = source.marks.clone().or_else(|| continued?.marks.clone());
        let standing = Standing::of(
            marks.as_ref(),
            serve,
            continued.map(|row| row.standing),
            continued.is_some_and(|row| row.adopted),
        );
        let new = Row {
            object: source.object.clone(),
            version: source.version,
            generation: source.generation,
            source: source.spec.clone(),
            spec,
            problem,
            marks,
            standing,
        };
        match continued {
            None => self.inserted.push(new),
            Some(row) if row.deleted || !new.is_same(row) => self.updated.push((row.id, new)),
            Some(_) => {}
        }
    }
}

impl Row {
    fn is_same(&self, row: &Existing) -> bool {
        let Self {
            object: _,
            version,
            generation,
            source,
            spec,
            problem,
            marks,
            standing,
        } = self;
        *version == row.version
            && *generation == row.generation
            && *source == row.source
            && *spec == row.spec
            && *problem == row.problem
            && *marks == row.marks
            && *standing == row.standing
    }
}
