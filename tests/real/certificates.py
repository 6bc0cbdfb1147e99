"""Makes a certificate authority and a server's certificate for localhost, in the folder that is named."""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM
folder = pathlib.Path(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)


def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(subject, key):
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(name("test authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
    )


authority_key = ec.generate_private_key(ec.SECP256R1())
authority = (
    certificate(name("test authority"), authority_key)
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    .sign(authority_key, hashes.SHA256())
)
server_key = ec.generate_private_key(ec.SECP256R1())
names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
server = (
    certificate(name("localhost"), server_key)
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    .add_extension(x509.SubjectAlternativeName(names), critical=False)
    .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    .sign(authority_key, hashes.SHA256())
)
(folder / "ca.pem").write_bytes(authority.public_bytes(PEM))
(folder / "server.pem").write_bytes(server.public_bytes(PEM))
(folder / "server.key").write_bytes(
    server_key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
)
