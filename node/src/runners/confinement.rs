//! Which files an agent may touch: the system's programs and libraries, its own program and scripts, its own folder.
//!
//! What is allowed is allowed with everything below it, so a folder that holds a node's home, or a person's, is never
//! allowed as a whole: of such a folder only the one file that was named is.

mod sandbox;
mod shell;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weft_protocol::{SandboxPolicy, is_within};

pub(crate) use shell::without_shell;

/// Programs, libraries and what comes with them.
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];
/// Settings that programs need to start, to resolve names and to check certificates. Not all of /etc: it holds keys too.
const SETTINGS: [&str; 24] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];
/// What the machine tells everybody. Not /proc as a whole: it holds the command lines of others.
const MACHINE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/sys/devices/system/cpu",
];
/// Devices without contents.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Where a program without a slash is looked for before the node's own PATH: an agent can read these as they are.
const PROGRAM_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// What belongs to a program in a folder called `bin`, beside that folder.
const BESIDE_BIN: [&str; 4] = ["lib", "lib64", "libexec", "pyvenv.cfg"];
/// A folder that holds this file is a node's home.
const HOME_MARK: &str = "identity.key";

/// What is allowed; everything else is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// To read and execute, with everything below.
    pub(crate) readable: Vec<PathBuf>,
    /// To read and write.
    pub(crate) devices: Vec<PathBuf>,
    /// To read, write and change, with everything below.
    pub(crate) writable: Vec<PathBuf>,
    /// To connect to, where the kernel confines that.
    pub(crate) sockets: Vec<PathBuf>,
}

/// The folders that no agent may be allowed as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Protected {
    home: PathBuf,
    person: Option<PathBuf>,
}

impl Protected {
    /// The node's home, and the home folder of whoever runs it when that is known.
    ///
    /// # Errors
    /// When the node's home cannot be found, or lies where every agent may read.
    pub(crate) fn new(home: &Path, person: Option<&Path>) -> Result<Self, String> {
        let home = fs::canonicalize(home).map_err(|error| format!("the home {}: {error}", home.display()))?;
        let open = SYSTEM.iter().chain(&SETTINGS).chain(&MACHINE).filter_map(|path| fs::canonicalize(path).ok());
        if let Some(system) = open.into_iter().find(|path| home.starts_with(path)) {
            let (home, system) = (home.display(), system.display());
            return Err(format!("the home {home} lies in {system}, which every agent may read: move it elsewhere"));
        }
        Ok(Self { home, person: person.and_then(|person| fs::canonicalize(person).ok()) })
    }

    /// What may be allowed so that the file, and what lies beside it, can be used: its folder where that is harmless, else
    /// the file alone, else nothing.
    fn allowed_for(&self, file: &Path) -> Option<PathBuf> {
        let folder = file.parent()?;
        if self.is_inside_a_home(file) {
            return None;
        }
        let metadata = fs::metadata(folder).ok()?;
        let open_to_all = metadata.permissions().mode() & 0o002 != 0;
        if self.is_above_a_home(folder) || open_to_all { Some(file.to_owned()) } else { Some(folder.to_owned()) }
    }

    fn is_above_a_home(&self, folder: &Path) -> bool {
        self.home.starts_with(folder) || self.person.as_deref().is_some_and(|person| person.starts_with(folder))
    }

    fn is_inside_a_home(&self, path: &Path) -> bool {
        path.starts_with(&self.home) || path.ancestors().any(|above| above.join(HOME_MARK).exists())
    }
}

impl Confinement {
    /// What `program` with these arguments may touch, working in `folder` and connecting to `socket`.
    ///
    /// Besides the system, that is the folder of the program (with `lib` beside a `bin`), and the folder of every argument
    /// that is the absolute path of a file: a script imports what lies beside it. An argument that names a folder, or
    /// something in a node's home, allows nothing. Nor does one that leads elsewhere from where the sandbox lets others write:
    /// whoever put it there may not be allowed what it leads to.
    pub(crate) fn new(
        protected: &Protected,
        program: &Path,
        arguments: &[String],
        folder: &Path,
        socket: &Path,
        sandbox: Option<&SandboxPolicy>,
    ) -> Self {
        let mut readable: Vec<PathBuf> = SYSTEM.iter().chain(&SETTINGS).chain(&MACHINE).map(PathBuf::from).collect();
        for program in [Some(program.to_owned()), fs::canonicalize(program).ok()].into_iter().flatten() {
            readable.extend(protected.allowed_for(&program));
            readable.extend(
                beside_bin(&program)
                    .into_iter()
                    .filter(|path| !protected.is_above_a_home(path) && !protected.is_inside_a_home(path)),
            );
        }
        let leads_astray = |argument: &String, real: &Path| {
            let given = sandbox.map(|sandbox| sandbox.allowed_paths.as_slice()).unwrap_or_default();
            given.iter().any(|given| is_within(argument, &given.path)) && Path::new(argument) != real
        };
        let files = arguments.iter().filter(|argument| Path::new(argument).is_absolute());
        let files = files.filter_map(|argument| Some((argument, fs::canonicalize(argument).ok()?)));
        let files =
            files.filter(|(argument, real)| real.is_file() && !leads_astray(argument, real)).map(|(_, real)| real);
        readable.extend(files.filter_map(|file| protected.allowed_for(&file)));
        readable.retain(|path| path.exists());
        readable.dedup();
        Self {
            readable,
            devices: DEVICES.iter().map(PathBuf::from).filter(|path| path.exists()).collect(),
            writable: vec![folder.to_owned()],
            sockets: vec![socket.to_owned()],
        }
    }
}

fn beside_bin(program: &Path) -> Vec<PathBuf> {
    let prefix = program.parent().filter(|folder| folder.file_name() == Some(OsStr::new("bin"))).and_then(Path::parent);
    let beside = |prefix: &Path| BESIDE_BIN.iter().map(|name| prefix.join(name)).filter(|path| path.exists()).collect();
    prefix.map(beside).unwrap_or_default()
}

/// The file that `word` names: a path with a slash as it stands, otherwise the first executable file of that name in the
/// system's program folders, then in `search`, the node's own PATH.
///
/// # Errors
/// When there is none.
pub(crate) fn find_program(word: &str, search: Option<&OsStr>) -> Result<PathBuf, String> {
    if word.contains('/') {
        let path = PathBuf::from(word);
        if !path.is_absolute() {
            return Err(format!("the program {word} is not an absolute path"));
        }
        return if is_executable(&path) {
            Ok(path)
        } else {
            Err(format!("the program {word} is not an executable file"))
        };
    }
    let own = search.map(|search| std::env::split_paths(search).collect::<Vec<_>>()).unwrap_or_default();
    let folders =
        PROGRAM_FOLDERS.iter().map(PathBuf::from).chain(own.into_iter().filter(|folder| folder.is_absolute()));
    let mut candidates = folders.map(|folder| folder.join(word));
    candidates.find(|path| is_executable(path)).ok_or_else(|| format!("the program {word} was not found"))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// A folder of homes and scripts, open to nobody else.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        for file in ["alpha/identity.key", "alpha/agents/a/x", "beta/identity.key", "beta/run/x", "code/a.py", "a.py"] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        (place, root)
    }

    fn granted(root: &Path, argument: &Path) -> Vec<PathBuf> {
        let protected = Protected::new(&root.join("alpha"), None).unwrap();
        let make = |arguments: &[String]| {
            Confinement::new(&protected, Path::new("/bin/sh"), arguments, &root.join("f"), &root.join("s"), None)
                .readable
        };
        let plain = make(&[]);
        let with = make(&[argument.to_str().unwrap().to_owned()]);
        with.into_iter().filter(|path| !plain.contains(path)).collect()
    }

    #[test]
    fn a_script_allows_its_folder_unless_that_holds_a_home() {
        let (_place, root) = place();
        assert_eq!(granted(&root, &root.join("code/a.py")), [root.join("code")]);
        assert_eq!(granted(&root, &root.join("a.py")), [root.join("a.py")]);
        fs::set_permissions(root.join("code"), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(granted(&root, &root.join("code/a.py")), [root.join("code/a.py")]);
    }

    #[test]
    fn nothing_in_or_of_a_home_and_no_folder_is_allowed() {
        let (_place, root) = place();
        std::os::unix::fs::symlink(root.join("alpha/identity.key"), root.join("code/link")).unwrap();
        for named in [
            "alpha",
            "alpha/identity.key",
            "alpha/agents/a/x",
            "beta",
            "beta/identity.key",
            "beta/run/x",
            "code",
            "code/link",
            "code/../alpha/identity.key",
            "missing",
        ] {
            assert_eq!(granted(&root, &root.join(named)), [] as [PathBuf; 0], "{named}");
        }
    }

    #[test]
    fn a_persons_home_is_not_allowed_as_a_whole() {
        let (_place, root) = place();
        let protected = Protected::new(&root.join("alpha"), Some(&root.join("code"))).unwrap();
        assert_eq!(protected.allowed_for(&root.join("code/a.py")), Some(root.join("code/a.py")));
    }

    #[test]
    fn a_home_among_the_systems_files_is_refused() {
        let error = Protected::new(Path::new("/usr/lib"), None).unwrap_err();
        assert!(error.contains("every agent may read"), "{error}");
    }

    #[test]
    fn programs_are_found_in_the_system_first() {
        let (_place, root) = place();
        let own = root.join("code");
        for name in ["sh", "only-here"] {
            fs::write(own.join(name), "").unwrap();
            fs::set_permissions(own.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let search = Some(own.as_os_str());
        assert!(find_program("sh", search).unwrap().ends_with("bin/sh"));
        assert_eq!(find_program("only-here", search).unwrap(), own.join("only-here"));
        assert!(find_program("only-here", None).is_err());
        assert!(find_program("a.py", search).is_err(), "not executable");
        assert!(find_program("code/only-here", search).is_err(), "not absolute");
        assert_eq!(find_program(own.join("only-here").to_str().unwrap(), None).unwrap(), own.join("only-here"));
    }
}
