//! Which parts of where a program runs its resource tells of.

use std::fmt;

/// What finds out about one part of where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detector {
    /// `process.*`, the runtime of a language included.
    Process,
    /// `host.*`
    Host,
    /// `os.*`
    Os,
    /// `container.*`
    Container,
}

impl Detector {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Process, Self::Host, Self::Os, Self::Container];

    /// Its name in `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Host => "host",
            Self::Os => "os",
            Self::Container => "container",
        }
    }
}

/// The detectors that are asked. Default: all.
///
/// What a program is told of itself (`service.name`, `OTEL_RESOURCE_ATTRIBUTES`), `service.instance.id` and `telemetry.sdk.*`
/// are in the resource in any case, as with OpenTelemetry's Python SDK, whose names for them are `otel` and `service_instance`.
///
/// ```
/// use hiq_core::detect::{Detector, Detectors};
///
/// let (detectors, unknown) = Detectors::named(["otel", "host", "my_cloud"]);
/// assert!(detectors.include(Detector::Host) && !detectors.include(Detector::Process));
/// assert_eq!(unknown, ["my_cloud"]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Detectors {
    /// A bit each.
    set: u8,
}

/// Stands for all detectors.
const ALL: &str = "*";
/// Names of what is in every resource.
const ALWAYS: [&str; 2] = ["otel", "service_instance"];

impl Detectors {
    /// None: the resource tells of nothing but the service.
    pub const NONE: Self = Self { set: 0 };

    /// Those of these names, and the names that nobody here has.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> (Self, Vec<&'n str>) {
        let (mut detectors, mut unknown) = (Self::NONE, Vec::new());
        for name in names {
            let known = Detector::ALL.into_iter().find(|known| known.name() == name);
            match known {
                Some(detector) => detectors.set |= bit(detector),
                None if name == ALL => detectors = Self::default(),
                None if ALWAYS.contains(&name) => {}
                None => unknown.push(name),
            }
        }
        (detectors, unknown)
    }

    /// True for a detector that is asked.
    pub const fn include(self, detector: Detector) -> bool {
        self.set & bit(detector) != 0
    }

    /// All names that [`Detectors::named`] knows, for messages.
    pub fn names() -> String {
        let all = Detector::ALL.map(Detector::name);
        [&all[..], &ALWAYS[..], &[ALL]].concat().join(", ")
    }
}

const fn bit(detector: Detector) -> u8 {
    1 << detector as u8
}

impl Default for Detectors {
    fn default() -> Self {
        let set = Detector::ALL
            .into_iter()
            .map(bit)
            .fold(0, |set, bit| set | bit);
        Self { set }
    }
}

impl fmt::Debug for Detectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let included = Detector::ALL.into_iter().filter(|one| self.include(*one));
        f.debug_set().entries(included).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_all_and_what_is_always_there_for_none() {
        assert_eq!(
            Detectors::named(["host", "*"]),
            (Detectors::default(), vec![])
        );
        let always = Detectors::named(["otel", "service_instance"]);
        assert_eq!(always, (Detectors::NONE, vec![]));
        for detector in Detector::ALL {
            let (one, unknown) = Detectors::named([detector.name()]);
            assert!(unknown.is_empty());
            for other in Detector::ALL {
                assert_eq!(one.include(other), other == detector);
            }
        }
    }

    #[test]
    fn every_name_in_the_list_of_names_is_known() {
        let names = Detectors::names();
        let (all, unknown) = Detectors::named(names.split(", "));
        assert_eq!((all, unknown), (Detectors::default(), vec![]));
    }
}
