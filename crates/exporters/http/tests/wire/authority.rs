//! Certificates for one test: an authority, what it signs, and servers that use it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::server::{Conversation, Server, Stream};

/// Signs certificates, and keeps PEM files for the client.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

/// PEM texts of a certificate and its key.
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            files: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `name`, changed by `change` before it is signed.
    pub(crate) fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Signed {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A file with this content, which lives as long as the authority.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The file that clients trust.
    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.file("authority.pem", self.pem())
    }
}

/// How a server shows itself, and whom it asks to do the same. May change while the server runs.
#[derive(Clone)]
pub(crate) struct Identity(Arc<Mutex<Arc<ServerConfig>>>);

impl Identity {
    pub(crate) fn of(signed: &Signed) -> Self {
        Self::with(signed, None)
    }

    /// As [`Identity::of`], and asks for certificates that `clients` signed.
    pub(crate) fn asking(signed: &Signed, clients: &Authority) -> Self {
        Self::with(signed, Some(clients))
    }

    fn with(signed: &Signed, clients: Option<&Authority>) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(config(signed, clients)))))
    }

    pub(crate) fn becomes(&self, signed: &Signed) {
        *self.0.lock().unwrap() = Arc::new(config(signed, None));
    }

    /// A TLS server.
    pub(crate) fn serve(
        &self,
        script: impl Fn(&mut Conversation) + Send + Sync + 'static,
    ) -> Server {
        let identity = self.clone();
        Server::wrapped(move |stream| identity.accept(stream), script)
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.lock().unwrap())
    }

    pub(crate) fn accept(&self, stream: TcpStream) -> Option<Box<dyn Stream>> {
        let connection = ServerConnection::new(self.config()).ok()?;
        Some(Box::new(StreamOwned::new(connection, stream)))
    }
}

fn config(signed: &Signed, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
    builder.with_single_cert(vec![chain], key).unwrap()
}
