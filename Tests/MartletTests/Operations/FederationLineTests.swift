import MartletNetwork
import Testing

import martlet

@Suite("What is told of other servers")
struct FederationLineTests {
    private let report = FederationReport(
        streams: [
            .init(
                peer: "b.example", domain: "a.example", .outgoing, address: "192.0.2.1:5269", tls: "1.3", method: "certificate", since: 0,
                isBidirectional: true, isManaged: true, sent: 3, received: 2, waitingStanzas: 4, waitingBytes: 812),
            .init(peer: "b.example", domain: "a.example", .incoming, address: "[2001:db8::1]:40000", since: 1_000),
            .init(peer: "", domain: "", .incoming, address: "192.0.2.9:40001", since: 2_000),
        ],
        calls: [.init(peer: "d.example", domain: "a.example", waitingStanzas: 1, waitingBytes: 90)],
        failures: [
            .init(peer: "x.c.example", domain: "a.example", why: "it says \u{1B}[2J", failures: 2, restMilliseconds: 5_000),
            .init(peer: "c.example", domain: "a.example", why: "it is down", failures: 1, restMilliseconds: 0, kept: 3),
        ])

    @Test("a line for each stream, for who is being called, and for who could not be reached")
    func list() {
        #expect(
            report.text(now: 0).split(separator: "\n").map(String.init) == [
                "(unknown)  in  192.0.2.9:40001  no TLS  not authenticated  since 1970-01-01T00:00:02.000Z  0 sent, 0 received",
                "b.example  in to a.example  [2001:db8::1]:40000  no TLS  not authenticated  since 1970-01-01T00:00:01.000Z  0 sent, 0 received",
                "b.example  out from a.example  192.0.2.1:5269  TLS 1.3  by certificate  both ways  managed  since 1970-01-01T00:00:00.000Z"
                    + "  3 sent, 2 received, 4 (812 bytes) waiting",
                "d.example  being called from a.example  1 (90 bytes) waiting",
                "c.example  not reached from a.example (once), called again when there is something for it: it is down; 3 messages wait",
                "x.c.example  not reached from a.example (2 times), left alone until 1970-01-01T00:00:05.000Z: it says \u{FFFD}[2J",
            ])
    }

    @Test("about a server is what is about it or a domain below it, and not what only ends like it")
    func about() {
        #expect(report.about("c.example").failures.map(\.peer) == ["c.example", "x.c.example"])
        #expect(report.about("x.c.example").failures.map(\.peer) == ["x.c.example"])
        #expect(report.about(".example").isEmpty)
        #expect(report.about("ample").isEmpty)
        #expect(report.about("b.example").streams.count == 2)
        #expect(report.about("e.example").isEmpty && !report.isEmpty)
    }

    @Test("a paragraph for each")
    func details() {
        #expect(
            report.about("b.example").details(now: 0).hasSuffix(
                """
                peer            b.example
                domain          a.example
                direction       out
                address         192.0.2.1:5269
                security        TLS 1.3
                authentication  by certificate
                both ways       yes
                acknowledged    yes
                since           1970-01-01T00:00:00.000Z
                sent            3
                received        2
                waiting         4 (812 bytes)
                """))
        #expect(report.about("x.c.example").details(now: 0).hasPrefix("peer            x.c.example\ndomain          a.example\nstate           not reached, 2 times\n"))
        #expect(FederationReport().details(now: 0).isEmpty)
    }

    @Test("a step of a diagnosis is a line with its time, and cannot steer the terminal")
    func step() {
        let lines = [
            DiagnosisStep(.records, .good, "found", milliseconds: 7), DiagnosisStep(.tls, .neutral, "x", milliseconds: 1_234),
            DiagnosisStep(.advice, .bad, "\u{1B}[2J", milliseconds: 123_456_789),
        ].map(\.line)
        #expect(lines == ["    7 ms  ok  SRV records     found", " 1234 ms      TLS             x", "123456789 ms  !!  what to do      \u{FFFD}[2J"])
        #expect(DiagnosisStep(.tls, .good, "TLS 1.3", milliseconds: 7).finding == "  ok  TLS             TLS 1.3")
    }
}
