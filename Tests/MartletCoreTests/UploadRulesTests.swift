import MartletCore
import MartletXMPP
import Testing

@Suite("What may be uploaded (XEP-0363)")
struct UploadRulesTests {
    private let now: Int64 = 1_800_000_000_000

    private func refusal(_ body: () throws(SlotRefusal) -> Void) -> SlotRefusal? {
        do throws(SlotRefusal) { try body() } catch { return error }
        return nil
    }

    private func usage(_ change: (inout UploadUsage) -> Void) -> UploadUsage {
        var usage = UploadUsage()
        change(&usage)
        return usage
    }

    @Test("a file has at most so many bytes (§6)", arguments: [0, 1])
    func size(more: Int) {
        var settings = UploadSettings()
        settings.fileBytesMax = 1_000
        let request = SlotRequest(fileName: "a", bytes: 1_000 + more)
        #expect(refusal { () throws(SlotRefusal) in try SlotRules.check(request, settings, now: now) } == (more == 0 ? nil : .tooLarge(bytesMax: 1_000)))
    }

    @Test("only types that the operator names are taken, if there are some", arguments: [
        ("image/png", true), ("IMAGE/PNG; q=1", true), ("image/jpeg", true), ("application/pdf", true), ("application/zip", false), (nil, false),
    ] as [(String?, Bool)])
    func types(type: String?, isTaken: Bool) {
        var settings = UploadSettings()
        let request = SlotRequest(fileName: "a", bytes: 1, type: type.flatMap { MediaType($0) })
        #expect(refusal { () throws(SlotRefusal) in try SlotRules.check(request, settings, now: now) } == nil)
        settings.types = ["image/*", "application/pdf"].compactMap { MediaTypePattern($0) }
        #expect(refusal { () throws(SlotRefusal) in try SlotRules.check(request, settings, now: now) } == (isTaken ? nil : .typeNotTaken))
    }

    @Test("a file whose last moment has come is not taken (§5.3)", arguments: [0, 1] as [Int64])
    func lastMoment(later: Int64) {
        let request = SlotRequest(fileName: "a", bytes: 1, purpose: .ephemeral, expireBefore: now + later)
        #expect(refusal { () throws(SlotRefusal) in try SlotRules.check(request, UploadSettings(), now: now) } == (later > 0 ? nil : .pastLastMoment))
    }

    @Test("an account has at most so many slots, files, bytes, and bytes of a day, and is told when that changes", arguments: [0, 1])
    func accountQuotas(more: Int) {
        var settings = UploadSettings()
        (settings.openSlotsMax, settings.accountFilesMax, settings.accountBytesMax, settings.accountDayBytesMax) = (3, 10, 100, 50)
        let request = SlotRequest(fileName: "a", bytes: 20)
        let cases: [(UploadUsage, SlotRefusal)] = [
            (usage { ($0.openSlots, $0.firstEnd) = (2 + more, 77) }, .quota(.openSlots, retry: 77)),
            (usage { ($0.files, $0.openSlots) = (7 + more, 2) }, .quota(.accountFiles, retry: nil)),
            (usage { $0.bytes = 80 + more }, .quota(.accountBytes, retry: nil)),
            (usage { ($0.bytes, $0.recentBytes, $0.firstRecent) = (30, 30 + more, 5) }, .quota(.accountDayBytes, retry: 5 + 86_400_000)),
        ]
        for (usage, expected) in cases {
            let found = refusal { () throws(SlotRefusal) in try SlotRules.check(request, account: usage, settings) }
            #expect(found == (more == 0 ? nil : expected))
        }
    }

    @Test("so has a domain", arguments: [0, 1])
    func domainQuotas(more: Int) {
        var settings = UploadSettings()
        (settings.domainBytesMax, settings.domainDayBytesMax) = (100, 50)
        let request = SlotRequest(fileName: "a", bytes: 20)
        let cases: [(UploadUsage, SlotRefusal)] = [
            (usage { $0.bytes = 80 + more }, .quota(.domainBytes, retry: nil)),
            (usage { ($0.bytes, $0.recentBytes, $0.firstRecent) = (30, 30 + more, 5) }, .quota(.domainDayBytes, retry: 5 + 86_400_000)),
        ]
        for (usage, expected) in cases {
            let found = refusal { () throws(SlotRefusal) in try SlotRules.check(request, domain: usage, settings) }
            #expect(found == (more == 0 ? nil : expected))
        }
    }

    @Test("a file is kept for as long as its purpose says, but not beyond its own last moment")
    func retention() throws {
        var settings = UploadSettings()
        settings.retention = [.message: .seconds(10), .ephemeral: .seconds(10), .permanent: .zero]
        func end(_ purpose: UploadPurpose, _ last: Int64? = nil) throws -> Int64? {
            let upload = StoredUpload(
                name: "", account: .nobody, owner: try .init(parsing: "juliet@capulet.example"), fileName: "a", bytes: 1, purpose: purpose, created: 0,
                expireBefore: last, state: .kept(since: 1_000, sha256: []))
            return settings.end(of: upload)
        }
        #expect(try end(.message) == 11_000)
        #expect(try end(.ephemeral, 5_000) == 5_000)
        #expect(try end(.ephemeral, 50_000) == 11_000)
        #expect(try end(.permanent) == nil)
        #expect(try end(.profile) == nil)
        #expect(settings.keptSince(now: 20_000) == [.message: 10_000, .ephemeral: 10_000])
    }

    @Test("media types are two tokens with a slash between (RFC 6838 §4.2)", arguments: [
        ("image/png", "image/png"), ("Image/PNG", "image/png"), ("text/plain; charset=utf-8", "text/plain"), ("application/vnd.a+xml", "application/vnd.a+xml"),
        ("image", nil), ("image/", nil), ("/png", nil), ("image/png/x", nil), ("im age/png", nil), ("image/p\"ng", nil), ("", nil), ("a/b\r\nc: d", nil),
    ] as [(String, String?)])
    func mediaTypes(text: String, type: String?) {
        #expect(MediaType(text)?.description == type)
    }

    @Test("a name in a path is the server's, and the label behind it may be anything but nothing", arguments: [
        ("/upload/00112233445566778899aabbccddeeff/a.png", true), ("/upload/00112233445566778899aabbccddeeff/%2e%2e", true),
        ("/upload/00112233445566778899aabbccddeeff/", false), ("/upload/00112233445566778899aabbccddeeff", false),
        ("/upload/00112233445566778899aabbccddeeff/a/b", false), ("/upload/00112233445566778899AABBCCDDEEFF/a", false),
        ("/upload/../00112233445566778899aabbccddeeff/a", false), ("/upload/0011223344556677889 9aabbccddeeff/a", false), ("/uploads/a", false),
    ])
    func paths(path: String, isOne: Bool) {
        #expect(UploadPath.name(in: path) == (isOne ? "00112233445566778899aabbccddeeff" : nil))
    }

    @Test("what a client calls a file is one part of a path, encoded", arguments: [
        ("très cool.jpg", "tr%C3%A8s%20cool.jpg"), ("a/../b", "a_.._b"), ("..", "file"), ("a\\b", "a_b"), ("a?b#c\"'<>", "a%3Fb%23c%22%27%3C%3E"),
        ("%41", "%2541"),
    ])
    func labels(fileName: String, label: String) {
        #expect(PercentEncoding.encoded(UploadPath.label(fileName)) == label)
    }
}

@Suite("What is being decided about uploads")
struct UploadLedgerTests {
    private let juliet = AccountID(raw: 1)
    private let romeo = AccountID(raw: 2)

    @Test("a slot that is being opened counts for those that are decided about after it, until it has been")
    func slots() {
        var ledger = UploadLedger()
        #expect(ledger.beginSlot(of: juliet, in: "d", bytes: 5).account.bytes == 0)
        let second = ledger.beginSlot(of: juliet, in: "d", bytes: 7)
        #expect(second.account.openSlots == 1 && second.account.bytes == 5 && second.account.recentBytes == 5 && second.domainBytes == 5)
        #expect(ledger.beginSlot(of: romeo, in: "d", bytes: 1).domainBytes == 12)
        ledger.endSlot(of: juliet, in: "d", bytes: 5)
        let third = ledger.beginSlot(of: juliet, in: "d", bytes: 1)
        #expect(third.account.openSlots == 1 && third.account.bytes == 7 && third.domainBytes == 8)
    }

    @Test("what is known of a domain is believed for a minute, and grows with what is granted", arguments: [0, 1] as [Int64])
    func domains(later: Int64) {
        var ledger = UploadLedger()
        #expect(ledger.usage(of: "d", now: 0) == nil)
        var usage = UploadUsage()
        usage.bytes = 10
        ledger.set(usage, of: "d", openingBytes: 3, now: 1_000)
        ledger.add(4, toDomain: "d")
        let now = 1_000 + UploadLedger.domainUsageLifetime - 1 + later
        #expect(ledger.usage(of: "d", now: now)?.bytes == (later == 0 ? 17 : nil))
        #expect(ledger.usage(of: "d", now: 999) == nil)
    }

    @Test("uploads and downloads at a time are bounded, for each account and for all", arguments: [0, 1])
    func transfers(more: Int) {
        var settings = UploadSettings()
        (settings.accountTransfersMax, settings.uploadsMax, settings.accountDownloadsMax, settings.downloadsMax) = (2, 3, 2, 3)
        var ledger = UploadLedger()
        #expect(ledger.beginUpload("a", of: juliet, settings) == nil)
        #expect(ledger.beginUpload("a", of: juliet, settings) == .alreadyUploading)
        if more == 1 { #expect(ledger.beginUpload("b", of: juliet, settings) == nil) }
        #expect(ledger.beginUpload("c", of: juliet, settings) == (more == 1 ? .tooManyOfAccount : nil))
        #expect(ledger.beginUpload("d", of: romeo, settings) == nil)
        #expect(ledger.beginUpload("e", of: romeo, settings) == .tooMany)
        ledger.endUpload("d")
        #expect(ledger.beginUpload("e", of: romeo, settings) == nil)
        for _ in 0..<1 + more { #expect(ledger.beginDownload(of: juliet, to: nil, settings) == nil) }
        #expect(ledger.beginDownload(of: juliet, to: nil, settings) == (more == 1 ? .tooManyOfAccount : nil))
        #expect(ledger.beginDownload(of: romeo, to: nil, settings) == nil)
        #expect(ledger.beginDownload(of: romeo, to: nil, settings) == .tooMany)
        ledger.endDownload(of: romeo, to: nil)
        #expect(ledger.downloads == 2)
    }

    @Test("so are downloads to one network, which does not keep an account's files from another one")
    func networks() {
        let settings = UploadSettings()
        #expect(settings.networkDownloadsMax == 64 && settings.accountDownloadsMax >= 2 * settings.networkDownloadsMax)
        var ledger = UploadLedger()
        for _ in 0..<settings.networkDownloadsMax { #expect(ledger.beginDownload(of: juliet, to: "192.0.2.7", settings) == nil) }
        #expect(ledger.beginDownload(of: juliet, to: "192.0.2.7", settings) == .tooManyToNetwork)
        #expect(ledger.beginDownload(of: romeo, to: "192.0.2.7", settings) == .tooManyToNetwork)
        #expect(ledger.beginDownload(of: juliet, to: "192.0.2.8", settings) == nil)
        #expect(ledger.beginDownload(of: juliet, to: nil, settings) == nil)
        ledger.endDownload(of: juliet, to: "192.0.2.7")
        #expect(ledger.beginDownload(of: romeo, to: "192.0.2.7", settings) == nil)
        #expect(ledger.beginDownload(of: romeo, to: "192.0.2.7", settings) == .tooManyToNetwork)
    }
}
