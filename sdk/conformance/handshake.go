package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kelpie-sec/kelpie/sdk"
)

// parseHandshake reads the line that a plugin prints.
func parseHandshake(line, dir string) (socket string, certificate *x509.Certificate, err error) {
	const do = "Print only 1|1|unix|SOCKET|grpc|CERTIFICATE, with a socket in $PLUGIN_UNIX_SOCKET_DIR; docs/handshake.md has each part."
	parts := strings.Split(line, "|")
	switch {
	case len(parts) < 5 || parts[0] != "1":
		return "", nil, fail("Print nothing before the handshake: whatever greets or warns belongs to the standard error.", "the first line that it printed is not the handshake: %q", clip(line))
	case parts[1] != strconv.Itoa(sdk.ProtocolVersion):
		return "", nil, fail(do, "it speaks version %q of the contract, and was offered %d", clip(parts[1]), sdk.ProtocolVersion)
	case parts[4] != "grpc":
		return "", nil, fail(do, "it speaks %q and not grpc", clip(parts[4]))
	case parts[2] != "unix" || filepath.Dir(parts[3]) != dir:
		return "", nil, fail(do, "it listens on %s %q and not on a socket in $PLUGIN_UNIX_SOCKET_DIR (%s)", clip(parts[2]), clip(parts[3]), dir)
	case len(parts) < 6 || parts[5] == "":
		return "", nil, fail(do, "the line has no certificate, so that anybody on this machine could take the plugin's place")
	}
	der, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err == nil {
		certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return "", nil, fail("The sixth part is the certificate's DER in base64 without padding.", "the certificate in the line cannot be read: %v", err)
	}
	return parts[3], certificate, nil
}

// dial connects with the certificates of both sides, as the core does.
func dial(socket string, server *x509.Certificate, client []tls.Certificate, seen *witness) (*grpc.ClientConn, error) {
	pool := x509.NewCertPool()
	pool.AddCert(server)
	return grpc.NewClient("passthrough:///plugin",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			Certificates: client, RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12,
		})),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(sdk.MaxMessage), grpc.MaxCallSendMsgSize(sdk.MaxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithStatsHandler(seen),
	)
}

// newCertificate is like the core's: of a key on P-256, for localhost.
func newCertificate() (pair tls.Certificate, text string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return pair, "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-30 * time.Second), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair, "", err
	}
	pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pair, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
