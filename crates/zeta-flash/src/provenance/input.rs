//! What a call names for the provenance of an image, and the files that it names.

use std::path::{Path, PathBuf};

use sigstore_verify::trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use zeta_os::error::{Error, Result};
use zeta_os::files::read_plain;

use super::{Asked, Bundle};

/// The most bytes of a file that is named here. A bundle has about 4 KiB, with a proof of a large
/// log 10 KiB.
const MOST: u64 = 1 << 20;

/// The arguments of a call that are about provenance. None of them has another as its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `--public-key`: the key that signed, as PEM.
    pub public_key: Option<PathBuf>,
    /// `--signature`: the signature of the image by that key.
    pub signature: Option<PathBuf>,
    /// `--bundle`: a bundle of sigstore.
    pub bundle: Option<PathBuf>,
    /// `--identity`: the URI that the certificate in the bundle must have.
    pub identity: Option<String>,
    /// `--issuer`: the URL that must have vouched for it.
    pub issuer: Option<String>,
    /// `--trusted-root`: the roots; without it, those of sigstore's public instance.
    pub trusted_root: Option<PathBuf>,
}

impl Arguments {
    /// Reads what was named.
    ///
    /// # Errors
    /// Something is named without what belongs to it, or a file cannot be read.
    pub fn read(&self) -> Result<Asked> {
        let half = |text: &str| Err(Error::usage(text).hint(BOTH));
        let words = [&self.identity, &self.issuer];
        let is_of_bundle = self.trusted_root.is_some() || words.iter().any(|word| word.is_some());
        match (&self.public_key, &self.signature, &self.bundle) {
            (None, None, None) if is_of_bundle => {
                half("an identity, an issuer or roots were named, and no bundle")
            }
            (None, None, None) => Ok(Asked::Nothing),
            (Some(key), Some(signature), None) if !is_of_bundle => Ok(Asked::Key {
                key: file("--public-key", key)?,
                signature: file("--signature", signature)?,
            }),
            (None, None, Some(bundle)) => self.read_bundle(bundle),
            (Some(_), None, None) => half("a public key was named, and no signature"),
            (None, Some(_), None) => half("a signature was named, and no public key"),
            _ => half("a key and a bundle were named: one of them counts"),
        }
    }

    fn read_bundle(&self, bundle: &Path) -> Result<Asked> {
        let (Some(identity), Some(issuer)) = (&self.identity, &self.issuer) else {
            let text = "a bundle was named, and not who must have signed it";
            return Err(Error::usage(text).hint(BOTH));
        };
        for (flag, url) in [("--identity", identity), ("--issuer", issuer)] {
            if !url
                .split_once("://")
                .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
            {
                let text = format!("{flag} {url:?} is no URI with '://'");
                return Err(Error::usage(text).hint(BOTH));
            }
        }
        let roots = match &self.trusted_root {
            Some(path) => file("--trusted-root", path)?,
            None => SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes().to_vec(),
        };
        Ok(Asked::Bundle(Box::new(Bundle {
            bundle: file("--bundle", bundle)?,
            identity: identity.clone(),
            issuer: issuer.clone(),
            roots,
        })))
    }
}

const BOTH: &str = "name --public-key and --signature, or --bundle with --identity and --issuer, \
    or none of them";

fn file(flag: &str, path: &Path) -> Result<Vec<u8>> {
    read_plain(path, MOST).map_err(|error| {
        Error::usage(format!("cannot read {flag} {}: {error}", path.display()))
            .hint("name a file that is there and that you may read; nothing was written")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use zeta_os::error::Kind;

    use super::{Arguments, MOST};
    use crate::provenance::Asked;

    /// A directory that goes away again.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("zeta-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn file(&self, name: &str, text: &[u8]) -> Option<PathBuf> {
            fs::write(self.0.join(name), text).unwrap();
            Some(self.0.join(name))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_named_is_whole_or_a_wrong_call() {
        let place = Place::new("provenance-named");
        let file = |name: &str| place.file(name, name.as_bytes());
        let url = |text: &str| Some(text.to_owned());
        let key = Arguments {
            public_key: file("key"),
            signature: file("signature"),
            ..Arguments::default()
        };
        let bundle = Arguments {
            bundle: file("bundle"),
            identity: url("https://a/b@refs/heads/main"),
            issuer: url("https://c"),
            ..Arguments::default()
        };
        assert_eq!(Arguments::default().read(), Ok(Asked::Nothing));
        let read = Asked::Key { key: b"key".to_vec(), signature: b"signature".to_vec() };
        assert_eq!(key.read(), Ok(read));
        let Ok(Asked::Bundle(read)) = bundle.read() else { panic!() };
        assert_eq!(read.bundle, b"bundle");
        assert!(read.roots.starts_with(b"{"), "sigstore's own");
        let with_roots = Arguments { trusted_root: file("roots"), ..bundle.clone() };
        let Ok(Asked::Bundle(read)) = with_roots.read() else { panic!() };
        assert_eq!(read.roots, b"roots");

        for wrong in [
            Arguments { public_key: None, ..key.clone() },
            Arguments { signature: None, ..key.clone() },
            Arguments { bundle: file("bundle"), ..key.clone() },
            Arguments { issuer: url("https://c"), ..key.clone() },
            Arguments { trusted_root: file("roots"), ..key.clone() },
            Arguments { signature: file("signature"), ..bundle.clone() },
            Arguments { bundle: None, ..bundle.clone() },
            Arguments { bundle: None, ..with_roots },
            Arguments { identity: None, ..bundle.clone() },
            Arguments { issuer: None, ..bundle.clone() },
            Arguments { identity: url("ann@example.test"), ..bundle.clone() },
            Arguments { identity: url(""), ..bundle.clone() },
            Arguments { issuer: url("https://"), ..bundle.clone() },
        ] {
            let error = wrong.read().unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{wrong:?}");
            assert!(!error.hints.is_empty(), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_too_long_is_a_wrong_call() {
        let place = Place::new("provenance-files");
        let signature = place.file("signature", b"x");
        let most = usize::try_from(MOST).unwrap();
        let long = place.file("long", &vec![b' '; most + 1]);
        let (missing, dir) = (Some(place.0.join("missing")), Some(place.0.clone()));
        for public_key in [long, missing, dir, Some(PathBuf::from("/dev/zero"))] {
            let arguments =
                Arguments { public_key, signature: signature.clone(), ..Arguments::default() };
            let error = arguments.read().unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            let named = arguments.public_key.as_deref().unwrap_or(Path::new(""));
            assert!(error.text.contains(&named.display().to_string()), "{error}");
        }
        let public_key = place.file("most", &vec![b' '; most]);
        let arguments = Arguments { public_key, signature, ..Arguments::default() };
        assert!(arguments.read().is_ok());
    }
}
