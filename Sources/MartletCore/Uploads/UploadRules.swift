/// A kind of content (RFC 6838 §4.2), in lower case and without parameters.
package struct MediaType: Hashable, Sendable, CustomStringConvertible {
    /// Longest text that is looked at, in bytes, with parameters.
    package static let bytesMax = 255

    package let type: String
    package let subtype: String

    /// `nil` if the text is none. Parameters behind it are left out.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= Self.bytesMax else { return nil }
        let essence = text.prefix { $0 != ";" }.lowercased().split(separator: "/", omittingEmptySubsequences: false)
        guard essence.count == 2 else { return nil }
        let (type, subtype) = (Self.trimmed(essence[0], front: true), Self.trimmed(essence[1], front: false))
        guard Self.isToken(type), Self.isToken(subtype) else { return nil }
        self.type = String(type)
        self.subtype = String(subtype)
    }

    private static func trimmed(_ text: Substring, front: Bool) -> Substring {
        var text = text
        if front { text = text.drop { $0 == " " } }
        while !front, text.last == " " { text.removeLast() }
        return text
    }

    private static func isToken(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: "!#$&-^_.+".utf8.contains(byte)
            }
        }
    }

    package var description: String { "\(type)/\(subtype)" }
    /// What a file is taken for of which nothing is said.
    package static let unknown = "application/octet-stream"
}

/// One media type, all of a kind (`image/*`), or any.
package struct MediaTypePattern: Hashable, Sendable, CustomStringConvertible {
    private let type: String
    /// `nil` for any.
    private let subtype: String?

    /// `nil` if the text is none.
    package init?(_ text: String) {
        if text.hasSuffix("/*") {
            // What can stand before a subtype.
            guard let found = MediaType(text.dropLast() + "x") else { return nil }
            (type, subtype) = (found.type, nil)
        } else {
            guard let found = MediaType(text), found.description == text.lowercased() else { return nil }
            (type, subtype) = (found.type, found.subtype)
        }
    }

    package func matches(_ other: MediaType) -> Bool { type == other.type && (subtype.map { $0 == other.subtype } ?? true) }
    package var description: String { "\(type)/\(subtype ?? "*")" }
}

/// What may be uploaded, and for how long it is kept. Every bound that is no protocol's own is here.
package struct UploadSettings: Hashable, Sendable {
    /// Largest file.
    package var fileBytesMax = 100 << 20
    /// Bytes of an account's files and open slots.
    package var accountBytesMax = 1 << 30
    package var accountFilesMax = 10_000
    /// Bytes that an account may upload within ``day``.
    package var accountDayBytesMax = 1 << 30
    /// The same two for all accounts of a domain together.
    package var domainBytesMax = 100 << 30
    package var domainDayBytesMax = 100 << 30
    /// What is taken; everything if there is nothing here.
    package var types: [MediaTypePattern] = []
    /// From a slot's opening to the beginning of its upload.
    package var slotLifetime = Duration.seconds(300)
    /// For how long files are kept, by what they are for; zero is for ever.
    package var retention: [UploadPurpose: Duration] = [.message: .seconds(90 * 86_400), .ephemeral: .seconds(86_400)]
    /// Files that one account may be uploading at a time, and that of one account may be downloaded at a time.
    package var accountTransfersMax = 8
    package var accountDownloadsMax = 256
    /// Files that may be downloaded at a time from one network (/32, /64): an office behind one address has as many, and no stranger alone keeps an
    /// account's files from others.
    package var networkDownloadsMax = 64
    /// The same of all accounts together: each holds some 400 KiB.
    package var uploadsMax = 128
    package var downloadsMax = 512
    /// Slots of one account that wait for their files.
    package var openSlotsMax = 100

    /// What daily quotas are about, in milliseconds.
    package static let day: Int64 = 86_400_000
    /// Longest name of a file, in bytes of UTF-8. No file system has longer ones.
    package static let fileNameBytesMax = 1_024

    package init() {}

    /// When a file that is kept is to go, in milliseconds since 1970; `nil` for never.
    package func end(of upload: StoredUpload) -> Int64? {
        guard case .kept(let since, _) = upload.state else { return upload.expireBefore }
        let kept = retention[upload.purpose].flatMap { $0 > .zero ? since + $0.milliseconds : nil }
        return [kept, upload.expireBefore].compactMap(\.self).min()
    }

    /// From when on files of each purpose were kept for long enough.
    package func keptSince(now: Int64) -> [UploadPurpose: Int64] {
        retention.filter { $0.value > .zero }.mapValues { now - $0.milliseconds }
    }
}

extension Duration {
    package var milliseconds: Int64 { components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000 }
}

/// What a client asks a slot for (XEP-0363 §4, §5).
package struct SlotRequest: Hashable, Sendable {
    package var fileName: String
    package var bytes: Int
    package var type: MediaType?
    package var purpose: UploadPurpose
    /// In milliseconds since 1970.
    package var expireBefore: Int64?

    package init(fileName: String, bytes: Int, type: MediaType? = nil, purpose: UploadPurpose = .message, expireBefore: Int64? = nil) {
        self.fileName = fileName
        self.bytes = bytes
        self.type = type
        self.purpose = purpose
        self.expireBefore = expireBefore
    }
}

/// Why there is no slot (§6).
package enum SlotRefusal: Error, Hashable, Sendable {
    case tooLarge(bytesMax: Int)
    case typeNotTaken
    /// Its last moment has come already.
    case pastLastMoment
    /// For the time being, until then if that is known; in milliseconds since 1970.
    case quota(Quota, retry: Int64?)
    /// The account is gone.
    case noAccount
    case unavailable

    package enum Quota: Hashable, Sendable { case openSlots, accountFiles, accountBytes, accountDayBytes, domainBytes, domainDayBytes }
}

/// Whether somebody gets a slot. Pure: what is in the store is a parameter.
package enum SlotRules {
    /// What can be said of a request by itself.
    package static func check(_ request: SlotRequest, _ settings: UploadSettings, now: Int64) throws(SlotRefusal) {
        guard request.bytes <= settings.fileBytesMax else { throw .tooLarge(bytesMax: settings.fileBytesMax) }
        guard isTaken(request.type, settings) else { throw .typeNotTaken }
        if let last = request.expireBefore, last <= now { throw .pastLastMoment }
    }

    /// A file of which nothing is said is taken where everything is.
    private static func isTaken(_ type: MediaType?, _ settings: UploadSettings) -> Bool {
        guard !settings.types.isEmpty else { return true }
        guard let type = type ?? MediaType(MediaType.unknown) else { return false }
        return settings.types.contains { $0.matches(type) }
    }

    /// - Parameter account: what the account has, with all slots that are being opened besides this one.
    package static func check(_ request: SlotRequest, account: UploadUsage, _ settings: UploadSettings) throws(SlotRefusal) {
        guard account.openSlots < settings.openSlotsMax else { throw .quota(.openSlots, retry: account.firstEnd) }
        guard account.files + account.openSlots < settings.accountFilesMax else { throw .quota(.accountFiles, retry: nil) }
        guard request.bytes <= settings.accountBytesMax - account.bytes else { throw .quota(.accountBytes, retry: nil) }
        guard request.bytes <= settings.accountDayBytesMax - account.recentBytes else {
            throw .quota(.accountDayBytes, retry: account.firstRecent.map { $0 + UploadSettings.day })
        }
    }

    /// The same for the domain.
    package static func check(_ request: SlotRequest, domain: UploadUsage, _ settings: UploadSettings) throws(SlotRefusal) {
        guard request.bytes <= settings.domainBytesMax - domain.bytes else { throw .quota(.domainBytes, retry: nil) }
        guard request.bytes <= settings.domainDayBytesMax - domain.recentBytes else {
            throw .quota(.domainDayBytes, retry: domain.firstRecent.map { $0 + UploadSettings.day })
        }
    }
}
