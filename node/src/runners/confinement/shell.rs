//! Which program runs when no other may be started: never a shell, and no program that only looks for another one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::find_program;

/// Programs that read commands and start others for them. The machine's own list, `/etc/shells`, counts as well.
const SHELLS: [&str; 24] = [
    "ash", "bash", "busybox", "csh", "dash", "elvish", "es", "fish", "ksh", "ksh93", "lksh", "mksh", "nu", "oksh",
    "posh", "pwsh", "rbash", "rc", "sash", "sh", "tcsh", "toybox", "yash", "zsh",
];
/// As much of a file as the kernel looks at to find out what runs it.
const FIRST_BYTES: u64 = 256;
/// Interpreters of interpreters: the kernel follows as many.
const INTERPRETERS_MAX: usize = 4;

/// The program that really runs, and its arguments. A script whose first line asks `env` for its interpreter is given that
/// interpreter: `env` would have to start it.
///
/// # Errors
/// That a shell would run, which one, or that it cannot be told.
pub(crate) fn without_shell(
    program: PathBuf,
    arguments: &[String],
    search: Option<&OsStr>,
) -> Result<(PathBuf, Vec<String>), String> {
    let mut arguments = arguments.to_vec();
    let mut runs = program;
    let mut looked_at = runs.clone();
    for _ in 0..=INTERPRETERS_MAX {
        refuse_shell(&looked_at)?;
        let Some((interpreter, argument)) = interpreter(&looked_at)? else { return Ok((runs, arguments)) };
        looked_at = interpreter;
        if looked_at.file_name() == Some(OsStr::new("env")) {
            let word = argument.ok_or_else(|| cannot_tell(&runs))?;
            if word.starts_with('-') || word.contains(['=', ' ', '\t']) {
                return Err(cannot_tell(&runs));
            }
            arguments.insert(0, runs.to_str().ok_or_else(|| cannot_tell(&runs))?.to_owned());
            looked_at = find_program(&word, search)?;
            runs.clone_from(&looked_at);
        }
    }
    Err(cannot_tell(&runs))
}

fn cannot_tell(program: &Path) -> String {
    format!("without a shell it must be certain what runs {}: name its interpreter", program.display())
}

fn refuse_shell(program: &Path) -> Result<(), String> {
    let real = fs::canonicalize(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let named = |path: &Path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| SHELLS.contains(&name));
    let listed = fs::read_to_string("/etc/shells").unwrap_or_default();
    let listed = listed.lines().filter(|line| line.starts_with('/')).any(|line| {
        let known = Path::new(line.trim());
        known == program || fs::canonicalize(known).is_ok_and(|known| known == real)
    });
    if named(program) || named(&real) || listed {
        return Err(format!("the agent would run in {}, which is a shell", program.display()));
    }
    Ok(())
}

/// Who runs this file, with the argument that is given to it; nobody when the machine runs it itself.
fn interpreter(program: &Path) -> Result<Option<(PathBuf, Option<String>)>, String> {
    let mut first = Vec::new();
    let read = File::open(program).and_then(|file| file.take(FIRST_BYTES).read_to_end(&mut first));
    read.map_err(|error| format!("{}: {error}", program.display()))?;
    if first.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    // A file of text without such a line is what a shell runs.
    let line = first.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).map(str::trim).unwrap_or_default();
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if !interpreter.starts_with('/') {
        return Err(cannot_tell(program));
    }
    let argument = argument.trim();
    Ok(Some((PathBuf::from(interpreter), (!argument.is_empty()).then(|| argument.to_owned()))))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn runs(folder: &Path, text: &str) -> Result<String, String> {
        let script = folder.join("script");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let place = format!("{}/", folder.display());
        let (program, arguments) =
            without_shell(script, &["word".to_owned()], None).map_err(|reason| reason.replace(&place, ""))?;
        let program = program.display().to_string();
        Ok([vec![program], arguments].concat().join(" ").replace(&place, ""))
    }

    #[test]
    fn programs_and_scripts_of_other_interpreters_run() {
        let folder = tempfile::tempdir().unwrap();
        let sleep = find_program("sleep", None).unwrap();
        assert_eq!(without_shell(sleep.clone(), &[], None), Ok((sleep.clone(), Vec::new())));
        assert_eq!(runs(folder.path(), &format!("#!{}\n", sleep.display())).unwrap(), "script word");
        let by_env = runs(folder.path(), "#!/usr/bin/env sleep\n").unwrap();
        assert_eq!(by_env, format!("{} script word", sleep.display()), "env itself does not run");
    }

    #[test]
    fn shells_by_any_name_and_what_they_run_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shell = |name: &str| Err(format!("the agent would run in {name}, which is a shell"));
        assert_eq!(runs(folder.path(), "#!/bin/sh\nexit\n"), shell("/bin/sh"));
        assert_eq!(runs(folder.path(), "#! /bin/sh -e\n"), shell("/bin/sh"));
        assert_eq!(
            runs(folder.path(), "#!/usr/bin/env sh\n"),
            shell(&find_program("sh", None).unwrap().display().to_string())
        );
        symlink("/bin/sh", folder.path().join("harmless")).unwrap();
        let renamed = folder.path().join("harmless");
        let told = without_shell(renamed.clone(), &[], None).unwrap_err();
        assert_eq!(Err(told), shell(&renamed.display().to_string()));
        fs::copy(fs::canonicalize("/bin/sh").unwrap(), folder.path().join("bash")).unwrap();
        assert!(runs(folder.path(), &format!("#!{}/bash\n", folder.path().display())).is_err(), "not listed anywhere");
        let unknown = Err("without a shell it must be certain what runs script: name its interpreter".to_owned());
        for text in ["echo hi\n", "", "#!\n", "#!sh\n", "#!/usr/bin/env -S python3 -u\n", "#!/usr/bin/env A=1 sh\n"] {
            assert_eq!(runs(folder.path(), text), unknown, "{text}");
        }
    }
}
