import Foundation
import MartletNetwork
import Testing

import martlet

@Suite("Warnings of certificates that end")
struct CertificateExpiryTests {
    private let end = 1_800_000_000

    private func certificate(_ use: ExpiringCertificate.Use = .shown(domain: "example.org")) -> ExpiringCertificate {
        ExpiringCertificate(use, file: "/example.org.pem", fingerprint: "0A", notAfter: end)
    }

    @Test("admins are told once, also if the server starts again; the log says it at each start")
    func restart() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("expiry-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var looks: [[Int]] = []
        for days in [31, 30, 30, 29, 7] {
            var expiry = CertificateExpiry(folder: folder)
            for _ in 0..<2 {
                let (logged, told) = expiry.look(at: [certificate()], now: end - days * 86_400)
                try expiry.save()
                looks.append([logged.count, told.count])
            }
        }
        #expect(looks == [[0, 0], [0, 0], [1, 1], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 1], [0, 0]])
    }

    @Test("what cannot be read is as if nothing had been told")
    func damaged() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("expiry-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data("{".utf8).write(to: URL(fileURLWithPath: folder + "/expiry-warnings.json"))
        var expiry = CertificateExpiry(folder: folder)
        #expect(expiry.look(at: [certificate()], now: end).told.count == 1)
    }

    @Test("what is said names the certificate, the time and what to do")
    func words() {
        let shown = certificate().words(now: end - 86_400)
        #expect(shown.hasPrefix("The certificate of example.org in /example.org.pem ends in 1 day, at 2027-01-15T08:00:00.000Z."))
        #expect(shown.contains("martlet config reload"))
        #expect(certificate().words(now: end - 7 * 86_400).contains(" ends in 7 days, ") && certificate().words(now: end + 1).contains(" ended at "))
        #expect(certificate(.believed(setting: "federation.trust-anchors")).words(now: end).hasPrefix("An authority of federation.trust-anchors, in /example.org.pem"))
    }

    @Test("authorities are looked at where they are believed: about other servers where there are any, about people where a domain asks for certificates")
    func authorities() {
        var configuration = ServerConfiguration()
        configuration.domains = [ServerConfiguration.Domain(name: "example.org")]
        configuration.federation.trustAnchors = "/servers.pem"
        configuration.clientCertificates.trustAnchors = "/people.pem"
        configuration.clientCertificates.authorities = "/issuing.pem"
        configuration.clientCertificates.mailAuthorities = "/mail.pem"
        configuration.federation.isEnabled = false
        #expect(CertificateExpiry.authorities(configuration).map(\.file) == [])
        configuration.federation.isEnabled = true
        #expect(CertificateExpiry.authorities(configuration).map(\.setting) == ["federation.trust-anchors"])
        configuration.domains[0].clientCertificates = .request
        configuration.federation.isEnabled = false
        let settings = CertificateExpiry.authorities(configuration).map(\.setting)
        #expect(settings == ["client-certificates.trust-anchors", "client-certificates.authorities", "client-certificates.mail-authorities"])
    }
}
