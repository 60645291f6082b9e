//! What one life of a process has used, and when that is nearly or more than it may.

use std::collections::BTreeSet;

use weft_protocol::{Resource, ResourceLimits};

use crate::event::Measured;

/// What one process has used. Invariant: a resource is in `warned` once its owner was told.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    measured: Measured,
    messages: u64,
    tool_calls: u64,
    warned: BTreeSet<Resource>,
}

/// How an amount stands to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Far from it, or told already.
    Within,
    /// Four fifths are used, for the first time.
    Near {
        /// How much is used.
        measured: u64,
        /// How much may be.
        limit: u64,
    },
    /// All of it is used, or more.
    Over {
        /// How much is used.
        measured: u64,
        /// How much may be.
        limit: u64,
    },
}

impl Usage {
    /// What is known; none where nobody has measured.
    pub(crate) const fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Memory => self.measured.memory_bytes,
            Resource::Cpu => self.measured.cpu_us,
            Resource::Disk => self.measured.disk_bytes,
            Resource::Messages => Some(self.messages),
            Resource::ToolCalls => Some(self.tool_calls),
        }
    }

    /// Takes in a measurement; what it does not say stays as it was.
    pub(crate) fn measure(&mut self, measured: Measured) {
        self.measured = Measured {
            memory_bytes: measured.memory_bytes.or(self.measured.memory_bytes),
            cpu_us: measured.cpu_us.or(self.measured.cpu_us),
            disk_bytes: measured.disk_bytes.or(self.measured.disk_bytes),
        };
    }

    /// Counts one message.
    pub(crate) const fn count_message(&mut self) {
        self.messages = self.messages.saturating_add(1);
    }

    /// Counts one call of a tool.
    pub(crate) const fn count_tool_call(&mut self) {
        self.tool_calls = self.tool_calls.saturating_add(1);
    }

    /// How the use of a resource stands to its bound; that it is near is said once.
    pub(crate) fn standing(&mut self, resource: Resource, limits: &ResourceLimits) -> Standing {
        let (Some(measured), Some(limit)) = (self.of(resource), limits.bound(resource)) else {
            return Standing::Within;
        };
        if measured >= limit {
            return Standing::Over { measured, limit };
        }
        if measured >= limit - limit / 5 && self.warned.insert(resource) {
            return Standing::Near { measured, limit };
        }
        Standing::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_are_said_once_and_all_of_it_always() {
        let limits = ResourceLimits { memory_bytes: Some(1_000), ..ResourceLimits::default() };
        let mut usage = Usage::default();
        let mut at = |bytes| {
            usage.measure(Measured { memory_bytes: Some(bytes), ..Measured::default() });
            usage.standing(Resource::Memory, &limits)
        };
        assert_eq!(at(799), Standing::Within);
        assert_eq!(at(800), Standing::Near { measured: 800, limit: 1_000 });
        assert_eq!([at(999), at(100), at(900)], [Standing::Within; 3], "told already");
        assert_eq!(at(1_000), Standing::Over { measured: 1_000, limit: 1_000 });
        assert_eq!(at(2_000), Standing::Over { measured: 2_000, limit: 1_000 });
    }

    #[test]
    fn what_nobody_measured_or_bounds_is_within() {
        let mut usage = Usage::default();
        assert_eq!(usage.of(Resource::Disk), None);
        let limits = ResourceLimits { disk_bytes: Some(1), ..ResourceLimits::default() };
        assert_eq!(usage.standing(Resource::Disk, &limits), Standing::Within);
        usage.measure(Measured { disk_bytes: Some(u64::MAX), ..Measured::default() });
        let limits = ResourceLimits { disk_bytes: Some(ResourceLimits::UNBOUNDED), ..ResourceLimits::default() };
        assert_eq!(usage.standing(Resource::Disk, &limits), Standing::Within);
    }
}
