//! Public keys in PEM form: a `SubjectPublicKeyInfo` (RFC 5280 section 4.1) as `openssl pkey -pubout` writes it. It
//! verifies nothing.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use super::auth::TokenAlgorithm;

/// Object identifiers: `rsaEncryption` (RFC 8017), `id-ecPublicKey` with `secp256r1` (RFC 5480), `id-Ed25519` (RFC 8410).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The least bytes of an RSA key of 2,048 bits.
const RSA_BYTES_MIN: usize = 256;

/// The key of a PEM text: PKCS #1 DER for RSA, else the point.
///
/// # Errors
/// What is wrong with it. Nothing of the text is in that.
pub(super) fn parse(pem: &[u8], algorithm: TokenAlgorithm) -> Result<Vec<u8>, &'static str> {
    let pem = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| "it is no public key in PEM form")?;
    let (kind, curve, key) = read(&pem).map_err(|_| "it is no public key in PEM form")?;
    match algorithm {
        TokenAlgorithm::Rs256 if kind == RSA && key.len() < RSA_BYTES_MIN => Err("it has less than 2048 bits"),
        TokenAlgorithm::Rs256 if kind == RSA => Ok(key),
        TokenAlgorithm::Es256 if kind == EC && curve.as_deref() == Some(P256) => Ok(key),
        TokenAlgorithm::EdDsa if kind == ED25519 => Ok(key),
        TokenAlgorithm::Rs256 => Err("RS256 needs an RSA key"),
        TokenAlgorithm::Es256 => Err("ES256 needs a key of the curve P-256"),
        TokenAlgorithm::EdDsa => Err("EdDSA needs a key of the curve Ed25519"),
        TokenAlgorithm::Hs256 => Err("HS256 has no public key"),
    }
}

type Parts = (Vec<u8>, Option<Vec<u8>>, Vec<u8>);

/// The object identifier of the algorithm, that of its parameter if it is one, and the key.
fn read(der: &[u8]) -> der::Result<Parts> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|info| {
        let (kind, curve) = info.sequence(|algorithm| {
            let kind = identifier(AnyRef::decode(algorithm)?)?;
            let parameter = if algorithm.is_finished() { None } else { Some(AnyRef::decode(algorithm)?) };
            Ok::<_, der::Error>((kind, parameter.and_then(|parameter| identifier(parameter).ok())))
        })?;
        let key = BitStringRef::decode(info)?.as_bytes().ok_or(Tag::BitString.value_error())?;
        Ok::<_, der::Error>((kind, curve, key.to_vec()))
    })?;
    reader.finish()?;
    Ok(parts)
}

fn identifier(any: AnyRef<'_>) -> der::Result<Vec<u8>> {
    match any.tag() {
        Tag::ObjectIdentifier => Ok(any.value().to_vec()),
        other => Err(other.value_error().into()),
    }
}
