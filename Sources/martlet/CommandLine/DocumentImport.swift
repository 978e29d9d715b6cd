import Foundation
import MartletCore
import MartletFeatures
import MartletXML
import MartletXMPP

/// Takes the accounts of a document in, one after the other.
///
/// Each is made first, so that nobody can log in, then filled in commits of some hundred pieces, and opened last. One that is not complete when
/// something goes wrong is begun anew by the next import.
struct DocumentImport {
    let document: ImportDocument
    let desk: AccountDesk
    let maker: KeyMaker
    let policy: ImportSurvey.Existing
    let skipsForeign: Bool
    let configuration: ServerConfiguration

    /// How many bytes of the document are read between two words about how far it is.
    private static let progressBytes = 1 << 20

    // MARK: Before anything is taken

    func survey() async throws(CommandFailure) -> ImportSurvey {
        var survey = ImportSurvey(
            domains: Set(configuration.domains.map(\.name)), skipsForeign: skipsForeign, existing: try await existing(), policy)
        try await document.forEachEvent { event, _ throws(CommandFailure) in survey.take(event) }
        guard survey.problems.isEmpty else {
            let rest = survey.isFull ? "\n  and perhaps more" : ""
            throw CommandFailure(
                .data, "\(document.path): nothing was added:\n" + survey.problems.map { "  \($0)" }.joined(separator: "\n") + rest)
        }
        return survey
    }

    /// Those that an import has begun and not finished are as good as not there.
    private func existing() async throws(CommandFailure) -> Set<String> {
        var (existing, disabled): (Set<String>, [String]) = ([], [])
        try await desk.forEachPage { page in
            for account in page {
                if account.isEnabled { existing.insert(account.address) } else { disabled.append(account.address) }
            }
        }
        for address in disabled where (try? await desk.ask(.portable(.isFree(address)))) == nil { existing.insert(address) }
        return existing
    }

    // MARK: Taking

    /// - Returns: how many accounts there are, and what was taken and left out of them.
    func run(_ survey: ImportSurvey, isDry: Bool) async throws(CommandFailure) -> (count: Int, PortableReport) {
        var (report, index, count, told) = (PortableReport(), -1, 0, 0)
        var current: AccountImport?
        try await document.forEachEvent { event, bytes throws(CommandFailure) in
            switch event {
            case .began(let user):
                index += 1
                guard index < survey.accounts.count, let account = survey.accounts[index] else { return }
                var next = AccountImport(account, user.password)
                if !isDry { _ = try await ask(.begin(account.address.description, replacing: policy == .replaced), about: account.address, after: count) }
                next.dry = isDry ? PortableImport(account.address, .empty(.nobody), lastView: 0, drySurroundings) : nil
                current = next
            case .ended:
                if var account = current {
                    try await finish(&account, after: count)
                    report.add(account.report)
                    count += 1
                }
                current = nil
            case .keys, .isDisabled, .piece, .skipped:
                guard var account = current else { return }
                // Taken out, so that it changes in place.
                current = nil
                account.take(event)
                if account.isFull { try await send(&account, after: count) }
                current = account
            }
            guard Terminal.showsProgress, bytes - told >= Self.progressBytes else { return }
            told = bytes
            Terminal.progress("\(bytes >> 20) MiB, \(count) of \(survey.accounts.count) accounts")
        }
        if Terminal.showsProgress { Terminal.progress("") }
        return (count, report)
    }

    private func finish(_ account: inout AccountImport, after count: Int) async throws(CommandFailure) {
        while account.hasMore { try await send(&account, after: count) }
        let keys = try account.finalKeys(maker)
        guard account.dry == nil else { return }
        _ = try await ask(
            .finish(account.address.description, keys: keys, isEnabled: account.isEnabled), about: account.address, after: count)
    }

    private func send(_ account: inout AccountImport, after count: Int) async throws(CommandFailure) {
        let pieces = account.nextPieces()
        if account.dry != nil { return account.takeDry(pieces) }
        let order = PortableOrder.take(of: account.address.description, pieces, lastView: account.lastView)
        guard case .imported(let report, let lastView) = try await ask(order, about: account.address, after: count) else { return }
        account.lastView = lastView
        account.report.add(report)
    }

    private func ask(_ order: PortableOrder, about address: BareJID, after count: Int) async throws(CommandFailure) -> ControlResponse {
        do throws(CommandFailure) {
            return try await desk.ask(.portable(order))
        } catch {
            throw CommandFailure(
                error.status, "\(document.path), \(address): \(error.message)",
                hint: "\(count) accounts before it are complete; --skip-existing goes on from there")
        }
    }

    /// What is tried out is thrown away: names are as good as any.
    private var drySurroundings: PortableImport.Surroundings {
        .init(
            limits: HostLimits(configuration), eventing: PersonalEventingSettings(configuration.pubsub), ids: StanzaIDSource(floor: 0),
            random: SystemRandom(), now: SystemClock().wallMilliseconds)
    }
}

/// One account on its way in: what of it has been read and not been sent.
private struct AccountImport {
    let address: BareJID
    let password: String?
    /// Set while it is only tried out.
    var dry: PortableImport?
    var isEnabled = true
    var lastView: UInt64 = 0
    var report = PortableReport()
    private var keys: [ScramKeys] = []
    private var pieces: [PortablePiece] = []
    private var bytes = 0
    /// They come behind the archive, wherever the document has them.
    private var offline: [PortablePiece] = []
    private var waiting: Set<String>
    /// Those of them that the archive had.
    private var inArchive: Set<String> = []

    init(_ account: ImportSurvey.Account, _ password: String?) {
        address = account.address
        waiting = account.waiting
        self.password = password
    }

    /// Pieces and bytes of one order.
    private static let piecesMax = 500
    private static let bytesMax = PortableAccounts.pieceBytesMax

    var isFull: Bool { pieces.count >= Self.piecesMax || bytes >= Self.bytesMax }
    var hasMore: Bool { !pieces.isEmpty || !offline.isEmpty }

    mutating func take(_ event: PortableReader.Event) {
        switch event {
        case .keys(.success(let made)):
            if keys.contains(where: { $0.hash == made.hash }) { report.skip("second keys of one mechanism") } else { keys.append(made) }
        case .keys(.failure(let error)): report.skip("keys: \(ImportFile.explain(error))")
        case .isDisabled: isEnabled = false
        case .skipped(let name): report.skip("unknown: \(ConfigurationProblem.printable(name))")
        case .piece(let piece): take(piece)
        case .began, .ended: break
        }
    }

    private mutating func take(_ piece: PortablePiece) {
        var piece = piece
        switch piece.place {
        case .offlineMessages: return offline.append(piece)
        case .archive:
            if !waiting.isEmpty, let name = piece.archiveName, waiting.contains(name) {
                piece.awaitsDelivery = true
                inArchive.insert(name)
            }
        case .account, .roster, .privateStorage, .nodeOwnership, .nodeItems: break
        }
        bytes += piece.xml.utf8.count
        pieces.append(piece)
    }

    /// The next ones that fit into one order; one in any case.
    mutating func nextPieces() -> [PortablePiece] {
        if pieces.isEmpty {
            pieces = offline.filter { piece in !(piece.offlineName(by: address).map { inArchive.contains($0) } ?? false) }
            offline = []
        }
        var size = 0
        let fitting = pieces.prefix { piece in
            size += piece.xml.utf8.count
            return size <= Self.bytesMax
        }
        let next = Array(pieces.prefix(min(Self.piecesMax, max(1, fitting.count))))
        pieces.removeFirst(next.count)
        bytes = pieces.reduce(0) { $0 + $1.xml.utf8.count }
        return next
    }

    mutating func takeDry(_ pieces: [PortablePiece]) {
        for piece in pieces { dry?.take(piece) }
    }

    /// Keys of the password if there is one: of all mechanisms that the configuration wants. Else those that were there.
    mutating func finalKeys(_ maker: KeyMaker) throws(CommandFailure) -> [String] {
        if let dry { report.add(dry.report) }
        guard let password else {
            report.take("keys", keys.count)
            if keys.isEmpty { report.skip("accounts without a password: nobody can log in until 'martlet account password'") }
            return keys.map(\.text)
        }
        report.take("passwords")
        return dry == nil ? try maker.keys(of: try PasswordInput.prepared(password)) : []
    }
}

extension PortablePiece {
    /// Of a message in an archive.
    fileprivate var archiveName: String? { try? element().attribute("id") }

    /// Of a message that waits.
    fileprivate func offlineName(by account: BareJID) -> String? {
        guard let element = try? element() else { return nil }
        return PortableImport.name(of: element.root, by: account)
    }
}
