//! Whether what a plan prepares from states is still up to date.

use super::Plan;
use std::collections::HashMap;
use std::ops::Range;

/// How often each state has been written.
#[derive(Debug, Default)]
pub(crate) struct Versions(HashMap<String, u64>);

/// The versions of the states that a program's prepared values were made from; none before its first run.
#[derive(Debug, Default)]
pub(crate) struct Prepared(Option<Vec<u64>>);

impl Versions {
    /// Notes that a state was set.
    pub fn set(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(version) => *version += 1,
            None => drop(self.0.insert(name.to_string(), 1)),
        }
    }

    /// The steps that a run of `plan` has to make, which is taken for made: all, or all but those that are still prepared.
    pub fn run(&mut self, plan: &Plan, prepared: &mut Prepared) -> Range<usize> {
        let version = |name: &String| self.0.get(name).copied().unwrap_or(0);
        let n = plan.steps.len();
        let is_current =
            prepared.0.as_ref().is_some_and(|from| plan.prepared_from().iter().map(version).eq(from.iter().copied()));
        if !is_current {
            prepared.0 = Some(plan.prepared_from().iter().map(version).collect());
        }
        for name in plan.overwrites() {
            self.set(name);
        }
        if is_current { plan.n_prepared()..n } else { 0..n }
    }
}
