//! Who is let in, and whom is spoken to: certificates of the authorities, not revoked, for one of the allowed names.

use crate::tls::material::Material;
use crate::tls::{Port, Setting, TlsError, TlsSettings, names};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// The names of which a certificate must have one.
#[derive(Clone, Debug, Default)]
struct Allowed {
    common_names: Vec<String>,
    hosts: Vec<String>,
}

/// A certificate of an authority, but not of anybody who is let in.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the certificate is for none of the names that are let in (common name {:?})", common_name.as_deref().unwrap_or_default())]
pub(crate) struct NotAllowed {
    common_name: Option<Arc<str>>,
}

impl Allowed {
    fn of(settings: &TlsSettings) -> Allowed {
        Allowed {
            common_names: settings.allowed_cn.clone(),
            hosts: settings.allowed_hostname.clone(),
        }
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.common_names.is_empty() && self.hosts.is_empty() {
            return Ok(());
        }
        let common_name = names::common_name(certificate);
        let has_name = common_name
            .as_ref()
            .is_some_and(|own| self.common_names.iter().any(|name| **name == **own));
        if has_name || self.hosts.iter().any(|host| names::is_for(certificate, host)) {
            return Ok(());
        }
        let refused = OtherError(Arc::new(NotAllowed { common_name }));
        Err(Error::InvalidCertificate(CertificateError::Other(refused)))
    }
}

/// Looks at those who call.
#[derive(Debug)]
struct Callers {
    authorities: Arc<dyn ClientCertVerifier>,
    allowed: Allowed,
}

/// What looks at those who call a port that demands certificates.
pub(crate) fn callers(
    port: Port,
    settings: &TlsSettings,
    material: &Material,
    authorities: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities), Arc::clone(provider))
            .enforce_revocation_expiration();
    if !material.revoked.is_empty() {
        builder = builder.with_crls(material.revoked.clone());
    }
    Ok(Arc::new(Callers {
        authorities: builder
            .build()
            .map_err(|source| unusable(port, settings, source))?,
        allowed: Allowed::of(settings),
    }))
}

fn unusable(port: Port, settings: &TlsSettings, source: VerifierBuilderError) -> TlsError {
    let (setting, path) = if matches!(source, VerifierBuilderError::NoRootAnchors) {
        (Setting::TrustedCa, &settings.trusted_ca)
    } else {
        (Setting::Crl, &settings.crl)
    };
    TlsError::Authorities {
        flag: port.flag(setting),
        path: path.clone().unwrap_or_default(),
        source,
    }
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .authorities
            .verify_client_cert(end_entity, intermediates, now)?;
        self.allowed.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Looks at those who are called. Without authorities, whatever they show is taken: members that make their own certificates
/// hide what they say from others, and do not know each other by it.
#[derive(Debug)]
struct Called {
    authorities: Option<Arc<WebPkiServerVerifier>>,
    allowed: Allowed,
    provider: Arc<CryptoProvider>,
}

/// What looks at the members that are called; `None` without authorities and without certificates of their own making.
pub(crate) fn called(
    settings: &TlsSettings,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, TlsError> {
    let authorities = match &material.authorities {
        None if settings.self_made => None,
        None => return Ok(None),
        Some(authorities) => {
            let mut builder =
                WebPkiServerVerifier::builder_with_provider(Arc::clone(authorities), Arc::clone(provider))
                    .enforce_revocation_expiration();
            if !material.revoked.is_empty() {
                builder = builder.with_crls(material.revoked.clone());
            }
            let built = builder.build();
            Some(built.map_err(|source| unusable(Port::Peers, settings, source))?)
        }
    };
    Ok(Some(Arc::new(Called {
        authorities,
        allowed: Allowed::of(settings),
        provider: Arc::clone(provider),
    })))
}

impl ServerCertVerifier for Called {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.allowed.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
