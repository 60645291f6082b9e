//! Settings of a node: what is in force, and what a reload changed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /v1/config`, and what `weft config show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigReport {
    /// Whether this is what a running node goes by; otherwise it is what the next start would.
    pub running: bool,
    /// Every key, always in the same order.
    pub settings: Vec<SettingRow>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingRow {
    /// Its name, with its section.
    pub key: String,
    /// Its value, as a file writes it; a list with commas.
    pub value: String,
    /// What it is when nobody says anything.
    pub default: String,
    /// Where the value came from: `default`, FILE:LINE, a variable, or a flag.
    pub from: String,
    /// The variable of the environment that sets it.
    pub variable: String,
    /// What is allowed.
    pub allowed: String,
    /// When a change counts: `running`, `restart` or `never`.
    pub changes: String,
    /// What it is for.
    pub about: String,
}

/// One setting that is different from what was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingChangeRow {
    /// Which.
    pub key: String,
    /// What was in force.
    pub from: String,
    /// What the sources say now.
    pub to: String,
}

/// The answer to `POST /v1/config/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadReport {
    /// What counts from now on, recorded on the chain.
    pub changed: Vec<SettingChangeRow>,
    /// What counts from the next start on.
    pub waiting: Vec<SettingChangeRow>,
}
