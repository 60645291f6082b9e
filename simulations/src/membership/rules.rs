//! Each rule of the page with a switch, so that a test can show what goes wrong without it.

/// Who must have acknowledged an event before it is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// Nobody: that no earlier one can come is enough.
    Nobody,
    /// More than half of those who count.
    MoreThanHalf,
    /// Everybody who counts.
    Everybody,
}

/// The rules. [`Rules::default`] are those that hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who must have acknowledged an event before it is stable.
    pub acknowledged: Acknowledged,
    /// An event is stable only when everybody who counts said that nothing before it is missing there.
    pub horizons: bool,
    /// A change takes effect when more than half endorsed it by a record of their own; otherwise when more than half
    /// anchored it.
    pub endorsed: bool,
    /// A ballot proposes what may have been decided in a lower one, if its promises tell of such a change.
    pub ballots_bind: bool,
    /// Who promised a ballot endorses nothing in a lower one.
    pub promises_kept: bool,
    /// A member endorses the end of a chain only where it acknowledged no more, and acknowledges no more from then on.
    pub endorsers_withhold: bool,
    /// An endorsement names what its writer holds, and counts for whoever holds that too.
    pub endorsements_name_heads: bool,
    /// Admissions need endorsements like any other change.
    pub admissions_endorsed: bool,
    /// Nothing at or after a proposed change is stable before the epoch is decided.
    pub changes_hold: bool,
    /// What a chain wrote while it did not count is ordered directly after the record that let it count.
    pub late_events_after_opening: bool,
    /// Nothing after a record that lets a chain count is stable before that chain was heard beyond it.
    pub opened_is_heard: bool,
    /// A new incarnation takes the place of the old one by a change; otherwise by its first event.
    pub incarnations_endorsed: bool,
    /// Evidence takes nobody from those who count; a change does.
    pub evidence_moves_nobody: bool,
    /// An endorsement counts on whatever branch it stands.
    pub votes_survive_cuts: bool,
    /// Nothing after a commit that a fork leaves out, and that may still be taken in, is stable.
    pub forks_hold: bool,
    /// What more than half acknowledged is never cut.
    pub floor: bool,
    /// A fence is claimed within one epoch, and an endorsement ends the claims of its writer in that epoch.
    pub claims_within_epoch: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            acknowledged: Acknowledged::Everybody,
            horizons: true,
            endorsed: true,
            ballots_bind: true,
            promises_kept: true,
            endorsers_withhold: true,
            endorsements_name_heads: true,
            admissions_endorsed: true,
            changes_hold: true,
            late_events_after_opening: true,
            opened_is_heard: true,
            incarnations_endorsed: true,
            evidence_moves_nobody: true,
            votes_survive_cuts: true,
            forks_hold: true,
            floor: true,
            claims_within_epoch: true,
        }
    }
}

impl Rules {
    /// The rules of the design page, before the model showed which of them do not hold.
    #[must_use]
    pub fn page() -> Self {
        Self {
            acknowledged: Acknowledged::Nobody,
            horizons: false,
            endorsed: false,
            ballots_bind: false,
            promises_kept: false,
            endorsers_withhold: false,
            endorsements_name_heads: false,
            admissions_endorsed: false,
            changes_hold: false,
            late_events_after_opening: false,
            opened_is_heard: false,
            incarnations_endorsed: false,
            evidence_moves_nobody: false,
            votes_survive_cuts: false,
            forks_hold: false,
            floor: true,
            claims_within_epoch: false,
        }
    }
}
