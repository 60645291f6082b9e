//! Which home is meant when a command names a folder, a node, or neither.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use weft_protocol::NodeName;

use super::{HomeDir, HomeError};

/// How a command names a node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice<'a> {
    /// `--home DIR`.
    pub(crate) home: Option<&'a Path>,
    /// `--node NAME`.
    pub(crate) node: Option<&'a NodeName>,
}

/// Where nodes live by name: `$XDG_DATA_HOME/weft`.
///
/// # Errors
/// [`HomeError::NoUserFolder`].
pub(crate) fn nodes_folder() -> Result<PathBuf, HomeError> {
    let folders = etcetera::base_strategy::Xdg::new().map_err(|_| HomeError::NoUserFolder)?;
    Ok(folders.data_dir().join("weft"))
}

/// The home of a node that exists: the one that is named, or the only one there is.
///
/// # Errors
/// [`HomeError::Missing`], [`HomeError::None`], [`HomeError::Several`], [`HomeError::NoUserFolder`].
pub(crate) fn choose(choice: Choice<'_>) -> Result<HomeDir, HomeError> {
    let home = match (choice.home, choice.node) {
        (Some(path), _) => HomeDir::new(path)?,
        (None, Some(name)) => HomeDir::new(&nodes_folder()?.join(name.as_str()))?,
        (None, None) => return only_home(&nodes_folder()?),
    };
    if home.is_begun() { Ok(home) } else { Err(HomeError::Missing { path: home.path().to_owned() }) }
}

/// The home of a node that may be new: the one that is named; else the only one there is; else `otherwise` by name.
///
/// # Errors
/// [`HomeError::Several`], [`HomeError::NoUserFolder`].
pub(crate) fn choose_or_create(choice: Choice<'_>, otherwise: &NodeName) -> Result<HomeDir, HomeError> {
    match (choice.home, choice.node) {
        (Some(path), _) => HomeDir::new(path),
        (None, Some(name)) => HomeDir::new(&nodes_folder()?.join(name.as_str())),
        (None, None) => {
            let folder = nodes_folder()?;
            match only_home(&folder) {
                Err(HomeError::None { .. }) => HomeDir::new(&folder.join(otherwise.as_str())),
                found => found,
            }
        }
    }
}

/// The names of the nodes in this folder, sorted.
fn names_under(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| HomeDir::new(&entry.path()).is_ok_and(|home| home.is_begun()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn only_home(folder: &Path) -> Result<HomeDir, HomeError> {
    let names = names_under(folder);
    match names.as_slice() {
        [] => Err(HomeError::None { folder: folder.to_owned() }),
        [name] => HomeDir::new(&folder.join(name)),
        _ => Err(HomeError::Several { names }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(folder: &Path, name: &str) {
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
        std::fs::write(folder.join(name).join("cluster.cbor"), b"").expect("a file");
    }

    #[test]
    fn the_only_home_is_meant_and_of_several_none() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path();
        assert!(matches!(only_home(folder), Err(HomeError::None { .. })));
        std::fs::create_dir_all(folder.join("no-node")).expect("a folder");
        begin(folder, "beta");
        assert_eq!(only_home(folder).expect("one").path(), folder.join("beta"));
        begin(folder, "alpha");
        let error = only_home(folder).expect_err("two");
        assert_eq!(error.to_string(), "several nodes are here: alpha, beta");
    }

    #[test]
    fn a_named_folder_must_hold_a_node() {
        let temporary = tempfile::tempdir().expect("a folder");
        let path = temporary.path().join("alpha");
        let choice = Choice { home: Some(&path), node: None };
        let error = choose(choice).expect_err("no node");
        assert_eq!(error.to_string(), format!("there is no node in {}", path.display()));
        let name = "beta".parse().expect("a name");
        assert_eq!(choose_or_create(choice, &name).expect("may be new").path(), path);
        begin(temporary.path(), "alpha");
        assert_eq!(choose(choice).expect("a node").path(), path);
    }
}
