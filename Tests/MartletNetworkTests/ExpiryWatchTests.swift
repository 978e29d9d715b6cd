import MartletNetwork
import Testing

@Suite("Certificates that end")
struct ExpiryWatchTests {
    static let end = 1_800_000_000
    static let day = 86_400

    private func certificate(_ fingerprint: String = "00", _ use: ExpiringCertificate.Use = .shown(domain: "verona.example")) -> ExpiringCertificate {
        ExpiringCertificate(use, file: "/verona.pem", fingerprint: fingerprint, notAfter: Self.end)
    }

    @Test("each threshold is told of once, on its side and not before", arguments: [
        (31, [] as [Int]), (30, [30]), (29, [30]), (8, [30]), (7, [7]), (2, [7]), (1, [1]), (0, [0]), (-1, [0]),
    ])
    func thresholds(days: Int, threshold: [Int]) {
        let now = Self.end - days * Self.day
        #expect(certificate().threshold(now: now) == threshold.first)
        var watch = ExpiryWatch()
        let looks = [watch.look(at: [certificate()], now: now), watch.look(at: [certificate()], now: now)]
        #expect(looks.map(\.count) == [threshold.count, 0])
    }

    @Test("a second before the threshold nothing is said")
    func edge() {
        for threshold in ExpiryWatch.thresholds {
            let now = Self.end - threshold * Self.day
            #expect(certificate().threshold(now: now) == threshold && certificate().threshold(now: now - 1) != threshold)
        }
    }

    @Test("over its last months a certificate is told of four times, whatever restarts there are")
    func months() throws {
        var watch = ExpiryWatch()
        var told: [Int] = []
        for hour in (-24 * 100)...48 {
            let now = Self.end + hour * 3600
            for each in watch.look(at: [certificate()], now: now) { told.append(each.daysLeft(now: now)) }
            let restarted = watch
            watch = restarted
        }
        #expect(told == [30, 7, 1, 0])
    }

    @Test("a clock that goes back says nothing again; who has missed a threshold hears of the last one only")
    func clock() {
        var watch = ExpiryWatch()
        let looks = [6, 20, 6, 0].map { watch.look(at: [certificate()], now: Self.end - $0 * Self.day).count }
        #expect(looks == [1, 0, 0, 1])
    }

    @Test("a renewed certificate is another one, and what is gone is forgotten")
    func renewal() {
        var watch = ExpiryWatch()
        let now = Self.end - Self.day
        let looks = [["00"], ["00", "01"], ["01"], ["00", "01"]].map { names in watch.look(at: names.map { certificate($0) }, now: now).map(\.fingerprint) }
        #expect(looks == [["00"], ["01"], [], ["00"]])
    }

    @Test("one certificate for two domains is told of to both, and as an authority once more")
    func uses() {
        var watch = ExpiryWatch()
        let all = [certificate(), certificate("00", .shown(domain: "mantua.example")), certificate("00", .believed(setting: "federation.trust-anchors"))]
        #expect(watch.look(at: all, now: Self.end) == all)
    }

    @Test("days are whole ones", arguments: [(0, 0), (1, -1), (-1, 0), (-86_399, 0), (-86_400, 1), (86_400, -1), (86_401, -2)])
    func days(late: Int, days: Int) { #expect(certificate().daysLeft(now: Self.end + late) == days) }

    @Test("authorities are found in their file, and nothing in one that cannot be read")
    func anchors() throws {
        let found = CertificateStore.expiringAnchors(in: Fixtures.certificate("verona.example.pem"), of: "federation.trust-anchors")
        let served = try #require(CertificateStore([Fixtures.files("verona.example")], now: Fixtures.now).certificate(of: "verona.example"))
        #expect(found.map(\.fingerprint) == [served.fingerprint] && found.map(\.notAfter) == [served.notAfter])
        #expect(CertificateStore.expiringAnchors(in: "/no/such/file", of: "federation.trust-anchors").isEmpty)
    }
}
