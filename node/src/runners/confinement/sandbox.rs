//! How a sandbox changes what an agent may touch, and what of it Landlock cannot hold up: that is refused, never left out.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use weft_protocol::{AllowedPath, SandboxPolicy};

use super::{Confinement, HOME_MARK, Protected};

/// Through these the memory and the processes of the whole machine can be had, and with them every key.
const MACHINE_ITSELF: [&str; 6] = ["/dev", "/proc", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore"];

impl Confinement {
    /// Takes away what the policy denies. What it allows is left to whoever confines; here is found out whether it may be.
    ///
    /// # Errors
    /// What of the policy cannot be enforced, and why.
    pub(crate) fn narrow(
        &mut self,
        policy: &SandboxPolicy,
        protected: &Protected,
        program: &Path,
    ) -> Result<(), String> {
        policy.allowed_paths.iter().try_for_each(|allowed| protected.check_allowed(allowed))?;
        for denied in &policy.denied_paths {
            self.deny(denied, policy)?;
            let lost =
                !self.readable.iter().any(|readable| forms(readable).iter().any(|form| program.starts_with(form)));
            if lost {
                return Err(format!("{denied} cannot be denied, because the program {} lies in it", program.display()));
            }
        }
        Ok(())
    }

    fn deny(&mut self, denied: &str, policy: &SandboxPolicy) -> Result<(), String> {
        let denied_forms = [PathBuf::from(denied), resolved(Path::new(denied))];
        let holds = |path: &Path| {
            let path = forms(path);
            denied_forms.iter().any(|denied| path.iter().any(|path| path.starts_with(denied)))
        };
        let lies_in = |path: &Path| {
            let path = forms(path);
            denied_forms.iter().any(|denied| path.iter().any(|path| denied.starts_with(path)))
        };
        if let Some(own) = self.writable.iter().chain(&self.sockets).find(|own| holds(own)) {
            return Err(format!("{denied} cannot be denied, because the agent's own {} lies in it", own.display()));
        }
        self.readable.retain(|path| !holds(path));
        self.devices.retain(|path| !holds(path));
        let given = policy.allowed_paths.iter().map(|allowed| Path::new(&allowed.path));
        if let Some(given) = given.clone().find(|given| holds(given)) {
            return Err(format!("{} is allowed and lies in {denied}, which is denied", given.display()));
        }
        let left = self.readable.iter().chain(&self.devices).chain(&self.writable).map(PathBuf::as_path);
        match left.chain(given).find(|left| lies_in(left)) {
            Some(above) => {
                let above = above.display();
                Err(format!("{denied} cannot be denied, because {above} above it is allowed as a whole"))
            }
            None => Ok(()),
        }
    }
}

impl Protected {
    fn check_allowed(&self, allowed: &AllowedPath) -> Result<(), String> {
        let path = Path::new(&allowed.path);
        let shown = path.display();
        let real = fs::canonicalize(path).map_err(|error| format!("{shown} cannot be allowed: {error}"))?;
        if real != path {
            return Err(format!("{shown} cannot be allowed, because it leads to {}: name that", real.display()));
        }
        if self.home.starts_with(path) {
            return Err(format!(
                "{shown} cannot be allowed, because it holds this node's home, {}",
                self.home.display()
            ));
        }
        if self.is_inside_a_home(path) || path.join(HOME_MARK).exists() {
            return Err(format!("{shown} cannot be allowed, because it lies in the home of a node"));
        }
        let is_disk = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_block_device());
        if is_disk || MACHINE_ITSELF.iter().any(|machine| path == Path::new(machine)) {
            return Err(format!("{shown} cannot be allowed, because everything on this machine can be had through it"));
        }
        Ok(())
    }
}

/// A path as it is written and where it leads.
fn forms(path: &Path) -> [PathBuf; 2] {
    [path.to_owned(), fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())]
}

/// Where a path leads, of which the end need not exist.
fn resolved(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| fs::canonicalize(above).ok().map(|real| (above, real)));
    match found {
        Some((above, real)) => path.strip_prefix(above).map_or_else(|_| path.to_owned(), |rest| real.join(rest)),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::symlink;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        for file in
            ["alpha/identity.key", "alpha/agents/a/x", "beta/identity.key", "data/in/x", "system/lib/x", "etc/x"]
        {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        symlink(root.join("system/lib"), root.join("lib")).unwrap();
        symlink(root.join("data/in"), root.join("etc/in")).unwrap();
        (place, root)
    }

    /// What is left to read after this policy, or why it is refused, with the place left out.
    fn narrowed(root: &Path, allowed: &[&str], denied: &[&str]) -> Result<String, String> {
        let full = |path: &str| root.join(path);
        let mut confinement = Confinement {
            readable: ["system", "lib", "etc/x", "etc/in"].map(full).to_vec(),
            devices: vec![root.join("null")],
            writable: vec![root.join("alpha/agents/a")],
            sockets: vec![root.join("alpha/run/a.sock")],
        };
        let text = |paths: &[&str]| paths.iter().map(|path| full(path).display().to_string()).collect::<Vec<_>>();
        let policy = SandboxPolicy::of(&text(allowed), &text(denied), true, true).unwrap();
        let protected = Protected::new(&root.join("alpha"), None).unwrap();
        let place = format!("{}/", root.display());
        let shown = |text: String| text.replace(&place, "");
        confinement.narrow(&policy, &protected, &root.join("system/program")).map_err(shown)?;
        let left = confinement.readable.iter().chain(&confinement.devices).map(|path| path.display().to_string());
        Ok(shown(left.collect::<Vec<_>>().join(" ")))
    }

    #[test]
    fn what_is_denied_is_taken_away_with_all_below_it_and_what_leads_there() {
        let (_place, root) = place();
        assert_eq!(narrowed(&root, &["data:rw"], &[]).unwrap(), "system lib etc/x etc/in null");
        assert_eq!(narrowed(&root, &[], &["etc"]).unwrap(), "system lib null");
        assert_eq!(narrowed(&root, &[], &["data"]).unwrap(), "system lib etc/x null");
        assert_eq!(narrowed(&root, &[], &["missing", "null"]).unwrap(), "system lib etc/x etc/in");
    }

    #[test]
    fn what_cannot_be_denied_is_refused_with_both_paths() {
        let (_place, root) = place();
        let above = |denied: &str, above: &str| {
            Err(format!("{denied} cannot be denied, because {above} above it is allowed as a whole"))
        };
        assert_eq!(narrowed(&root, &[], &["system/lib/x"]), above("system/lib/x", "system"));
        assert_eq!(narrowed(&root, &[], &["lib"]), above("lib", "system"), "it leads there");
        assert_eq!(narrowed(&root, &[], &["system/new"]), above("system/new", "system"), "there or not");
        assert_eq!(narrowed(&root, &[], &["etc/in/x"]), above("etc/in/x", "etc/in"));
        assert_eq!(narrowed(&root, &["data/in"], &["etc"]).unwrap(), "system lib null");
        let both = Err("data/in is allowed and lies in etc/in, which is denied".to_owned());
        assert_eq!(narrowed(&root, &["data/in"], &["etc/in"]), both, "one folder by two names");
        let program = format!("system cannot be denied, because the program {} lies in it", "system/program");
        assert_eq!(narrowed(&root, &[], &["system"]), Err(program));
        let own = "alpha cannot be denied, because the agent's own alpha/agents/a lies in it".to_owned();
        assert_eq!(narrowed(&root, &[], &["alpha"]), Err(own));
    }

    #[test]
    fn what_may_not_be_allowed_is_refused() {
        let (_place, root) = place();
        fs::create_dir(root.join("data/home")).unwrap();
        fs::write(root.join("data/home").join(HOME_MARK), "").unwrap();
        let home = "cannot be allowed, because it lies in the home of a node";
        let cases = [
            ("", format!("{} cannot be allowed, because it holds this node's home, alpha", root.display())),
            ("alpha", "alpha cannot be allowed, because it holds this node's home, alpha".to_owned()),
            ("alpha/agents/a", format!("alpha/agents/a {home}")),
            ("beta", format!("beta {home}")),
            ("data/home", format!("data/home {home}")),
            ("lib", "lib cannot be allowed, because it leads to system/lib: name that".to_owned()),
            ("missing", "missing cannot be allowed: No such file or directory (os error 2)".to_owned()),
        ];
        for (allowed, expected) in cases {
            assert_eq!(narrowed(&root, &[allowed], &[]), Err(expected));
        }
        let protected = Protected::new(&root.join("alpha"), None).unwrap();
        for machine in ["/dev", "/proc"] {
            let refusal = protected.check_allowed(&machine.parse().unwrap()).unwrap_err();
            assert!(refusal.ends_with("everything on this machine can be had through it"), "{refusal}");
        }
    }
}
