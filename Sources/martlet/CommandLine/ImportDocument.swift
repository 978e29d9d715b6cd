import Foundation
package import MartletFeatures
import MartletXML
package import MartletXMPP
import NIOCore

/// A document of accounts (XEP-0227) on disk, which is read from its beginning as often as somebody asks: however long it is, no more than a piece
/// of it is in memory.
package struct ImportDocument {
    package let path: String

    private static let chunkBytes = 262_144

    package init(path: String) { self.path = path }

    /// Whether a file is such a document, and not lines of accounts: by what comes first, which no address begins with.
    package static func isDocument(_ beginning: some Sequence<UInt8>) -> Bool {
        beginning.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: "<")
    }

    /// - Parameter body: gets every event, and how many bytes it took up to there.
    package func forEachEvent(_ body: (PortableReader.Event, Int) async throws(CommandFailure) -> Void) async throws(CommandFailure) {
        guard let file = FileHandle(forReadingAtPath: path) else { throw CommandFailure(.noInput, "\(path) cannot be read: \(SystemError.last)") }
        defer { try? file.close() }
        var reader = PortableReader()
        while let chunk = try read(file), !chunk.isEmpty {
            var bytes = ByteBuffer(bytes: chunk)
            while let event = try next(&reader, &bytes) { try await body(event, reader.usedByteCount) }
        }
        do throws(PortableFault) { try reader.finish() } catch { throw failure(error, at: reader.usedByteCount) }
    }

    private func read(_ file: FileHandle) throws(CommandFailure) -> Data? {
        do { return try file.read(upToCount: Self.chunkBytes) } catch { throw CommandFailure(.io, "\(path) cannot be read: \(error)") }
    }

    private func next(_ reader: inout PortableReader, _ bytes: inout ByteBuffer) throws(CommandFailure) -> PortableReader.Event? {
        do throws(PortableFault) { return try reader.next(from: &bytes) } catch { throw failure(error, at: reader.usedByteCount) }
    }

    private func failure(_ fault: PortableFault, at byte: Int) -> CommandFailure { CommandFailure(.data, "\(path), after byte \(byte): \(Self.text(of: fault))") }

    private static func text(of fault: PortableFault) -> String {
        switch fault {
        case .notServerData: "this is no document of accounts (XEP-0227): its root is not <server-data xmlns='urn:xmpp:pie:0'>"
        case .include: "a part that is in another file (XInclude), which is not read; put everything into one file"
        case .missing(let what): what
        case .incomplete: "the document ends too early"
        case .xml(.restrictedXML): "comments, processing instructions, document types and entities are not read"
        case .xml(.unsupportedEncoding): "another encoding than UTF-8 without a byte order mark"
        case .xml(.badNamespacePrefix): "a prefix that nobody declared"
        case .xml(.textBetweenStanzas): "text where an element is expected"
        case .xml(.notWellFormed), .xml(.secondHeader): "this is no well-formed XML"
        case .xml(.limitExceeded(let limit)): "more than is read at a time (\(limit)); one part of an account may have \(PortableAccounts.pieceBytesMax) bytes"
        }
    }
}

/// What is in a document, as far as it has to be known before anything of it is taken.
package struct ImportSurvey {
    package enum Existing: Hashable, Sendable { case refused, skipped, replaced }

    package struct Account: Hashable, Sendable {
        package let address: BareJID
        /// Names of messages that wait for the account. Those that are in its archive as well are one and the same.
        package fileprivate(set) var waiting: Set<String> = []
    }

    /// Those that are to be imported, in the order of the document; `nil` for one that is passed over.
    package private(set) var accounts: [Account?] = []
    package private(set) var problems: [String] = []
    private var addresses: Set<BareJID> = []
    private let domains: Set<String>
    private let skipsForeign: Bool
    private let existing: Set<String>
    private let policy: Existing

    /// - Parameters:
    ///   - domains: those that the server hosts.
    ///   - skipsForeign: whether accounts of other domains are passed over; otherwise they are mistakes.
    ///   - existing: accounts that are there already and may not be begun anew.
    package init(domains: Set<String>, skipsForeign: Bool, existing: Set<String>, _ policy: Existing) {
        self.domains = domains
        self.skipsForeign = skipsForeign
        self.existing = existing
        self.policy = policy
    }

    package var isFull: Bool { problems.count >= ImportFile.problemsMax }

    package mutating func take(_ event: PortableReader.Event) {
        switch event {
        case .began(let user):
            do throws(CommandFailure) { accounts.append(try account(of: user)) } catch {
                accounts.append(nil)
                if !isFull { problems.append("\(ConfigurationProblem.printable("\(user.name)@\(user.domain)".prefix(200))): \(error.message)") }
            }
        case .piece(let piece) where piece.place == .offlineMessages:
            guard let address = accounts.last??.address, let message = try? parseElement(ByteBuffer(string: piece.xml), limits: .ownWriting, defaultNamespace: .none),
                let name = PortableImport.name(of: message.root, by: address)
            else { return }
            accounts[accounts.count - 1]?.waiting.insert(name)
        case .piece, .keys, .isDisabled, .skipped, .ended: break
        }
    }

    private mutating func account(of user: PortableReader.User) throws(CommandFailure) -> Account? {
        if skipsForeign, let domain = try? BareJID(parsing: user.domain), !domains.contains(domain.domainpart) { return nil }
        let address = try AccountAddress.hosted("\(user.name)@\(user.domain)", domains)
        guard addresses.insert(address).inserted else { throw CommandFailure(.data, "it is there twice") }
        if let password = user.password { _ = try PasswordInput.prepared(password) }
        guard existing.contains(address.description) else { return Account(address: address) }
        switch policy {
        case .refused: throw CommandFailure(.data, "it exists already")
        case .skipped: return nil
        case .replaced: return Account(address: address)
        }
    }
}
