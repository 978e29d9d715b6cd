package import MartletCore
import MartletLDAP
package import MartletXMPP
import Synchronization

/// This server's accounts as a directory that can be read (`directory.md` §4.1).
package struct EmbeddedDirectory: Sendable {
    /// Most entries of an answer, or of a page of one.
    package static let entriesMax = 1_000
    /// Most parts of a filter: each is held against all accounts.
    static let filterNodesMax = 64
    /// Entries that are looked at before it is others' turn.
    private static let turn = 256

    package let tree: EmbeddedTree
    private let people: EmbeddedPeople
    private let accounts: Accounts
    private let searches = SearchCount()

    /// What somebody says to bind.
    package struct Claim: Sendable {
        /// As it was said.
        package let name: String
        /// `nil`: there can be no such account.
        package let account: BareJID?
        /// `nil`: no password can be so.
        package let password: PreparedPassword?
        package let peer: FrontEndPeer
    }

    /// Who knows accounts and their passwords.
    package struct Accounts: Sendable {
        /// Whether a password is an account's. Guesses are its business: it knows who may try how often.
        let verify: @Sendable (Claim) async -> AccountVerdict
        /// The moment, in the order of changes that end what was proved before.
        let now: @Sendable () -> CredentialMoment
        /// Whether an account may still read what it was let in for at that moment.
        let standing: @Sendable (BareJID, CredentialMoment) async -> AccountVerdict

        package init(
            now: @escaping @Sendable () -> CredentialMoment = { .latest },
            standing: @escaping @Sendable (BareJID, CredentialMoment) async -> AccountVerdict = { _, _ in .ok },
            verify: @escaping @Sendable (Claim) async -> AccountVerdict
        ) {
            self.verify = verify
            self.now = now
            self.standing = standing
        }
    }

    package init(_ tree: EmbeddedTree, _ people: EmbeddedPeople, _ accounts: Accounts) {
        self.tree = tree
        self.people = people
        self.accounts = accounts
    }

    /// For binds that begin now.
    var now: CredentialMoment { accounts.now() }

    // MARK: Binding

    /// Who does not exist hears what one hears whose password is wrong.
    func bind(_ name: String, _ password: [UInt8], from peer: FrontEndPeer) async -> (LDAPResult, PresenceViewer) {
        let address = tree.address(bindingAs: name)
        let prepared = String(validating: password, as: UTF8.self).flatMap { PreparedPassword($0) }
        switch await accounts.verify(Claim(name: name, account: address, password: prepared, peer: peer)) {
        case .ok:
            guard let address else { return (LDAPResult(.invalidCredentials), .anonymous) }
            return (LDAPResult(.success), .account(address))
        case .badCredentials, .disabled, .expired: return (LDAPResult(.invalidCredentials), .anonymous)
        case .mechanismTooWeak: return (LDAPResult(.strongerAuthRequired), .anonymous)
        case .unavailable: return (LDAPResult(.unavailable), .anonymous)
        }
    }

    // MARK: Reading

    /// What a search or a comparison is answered with.
    ///
    /// - Parameter moment: when the viewer has bound.
    func answer(
        _ message: LDAPMessage, for viewer: PresenceViewer, since moment: CredentialMoment, _ view: any PresenceSource, _ settings: FrontEndSettings
    ) async -> [LDAPMessage] {
        func refused(_ result: LDAPResult) -> [LDAPMessage] { LDAPMessage(refusing: message.operation.kind, message.id, result).map { [$0] } ?? [] }
        guard searches.begin(atMost: settings.searchesMax) else { return refused(LDAPResult(.busy, "too many searches at a time")) }
        defer { searches.end() }
        if let refusal = await refusal(of: viewer, moment) { return refused(refusal) }
        switch message.operation {
        case .searchRequest(let request):
            do throws(LDAPResult) {
                return try await found(request, message, viewer, view, settings)
            } catch {
                return [LDAPMessage(message.id, .searchResultDone(error))]
            }
        case .compareRequest(let request): return [LDAPMessage(message.id, .compareResponse(await compared(request, viewer, view)))]
        default: return []
        }
    }

    /// An account that was disabled, or has another password, has to bind anew.
    private func refusal(of viewer: PresenceViewer, _ moment: CredentialMoment) async -> LDAPResult? {
        guard case .account(let account) = viewer else { return nil }
        switch await accounts.standing(account, moment) {
        case .ok: return nil
        case .unavailable: return LDAPResult(.unavailable)
        case .badCredentials, .disabled, .expired, .mechanismTooWeak: return LDAPResult(.insufficientAccessRights, "bind again")
        }
    }

    private func found(
        _ request: SearchRequest, _ message: LDAPMessage, _ viewer: PresenceViewer, _ view: any PresenceSource, _ settings: FrontEndSettings
    ) async throws(LDAPResult) -> [LDAPMessage] {
        let paging: PagedResultsControl?
        do { paging = try message.controls.first(of: PagedResultsControl.self) } catch { throw LDAPResult(.protocolError) }
        guard PresenceFilter.count(of: request.filter) <= Self.filterNodesMax else {
            throw LDAPResult(.adminLimitExceeded, "filters have at most \(Self.filterNodesMax) parts here")
        }
        let wanted = PresenceWanted(request, settings)
        var entries = try await candidates(request, viewer)
        if let filter = PresenceFilter(request.filter) { try await addVisible(to: &entries, for: viewer, filter, view) }
        entries = await Self.matching(PreparedLDAPFilter(request.filter), entries)
        let (page, cookie, isCut) = Self.page(entries, request, paging)
        var shown = page
        if let wanted {
            shown = await withPresence(shown, for: viewer, view)
            for index in shown.indices {
                guard let address = shown[index].address else { continue }
                let text = PresenceAttributes.text(shown[index].presence)
                wanted.addDecorations(to: &shown[index].entry, of: address, presenceText: text)
            }
        }
        let selection = AttributeSelection(request.attributes)
        var messages = shown.map { LDAPMessage(message.id, .searchResultEntry($0.selected(selection, typesOnly: request.typesOnly))) }
        let controls = paging == nil ? [] : [PagedResultsControl(size: 0, cookie: cookie).control(isCritical: false)]
        messages.append(LDAPMessage(message.id, .searchResultDone(LDAPResult(isCut ? .sizeLimitExceeded : .success)), controls: controls))
        return messages
    }

    /// Presence, as far as a filter is about it: that of all accounts would have to be read for each search.
    private func addVisible(
        to entries: inout [Candidate], for viewer: PresenceViewer, _ filter: PresenceFilter, _ view: any PresenceSource
    ) async throws(LDAPResult) {
        guard viewer != .anonymous else { return }
        let visible: [(address: BareJID, presence: PresenceSummary)]
        do throws(PresenceView.Failure) {
            visible = try await view.visible(to: viewer, online: filter.isAboutThoseOnline)
        } catch {
            switch error {
            case .tooMany: throw LDAPResult(.adminLimitExceeded, "the presence of too many would have to be looked at")
            case .unavailable: throw LDAPResult(.unavailable, "presence cannot be looked up")
            }
        }
        let presences = Dictionary(visible.map { ($0.address, $0.presence) }, uniquingKeysWith: { first, _ in first })
        for index in entries.indices {
            guard let address = entries[index].address, let presence = presences[address] else { continue }
            entries[index].presence = PresenceAttributes.attributes(of: presence)
        }
    }

    private static func matching(_ filter: PreparedLDAPFilter, _ entries: [Candidate]) async -> [Candidate] {
        var matching: [Candidate] = []
        for (number, entry) in entries.enumerated() {
            if number % turn == turn - 1 { await Task.yield() }
            if filter.truth(of: entry.whole) == .holds { matching.append(entry) }
        }
        return matching
    }

    /// An entry, and whose it is.
    struct Candidate: Sendable {
        var entry: LDAPEntry
        var address: BareJID?
        var presence: [LDAPAttribute]?

        /// As filters see it.
        var whole: LDAPEntry { LDAPEntry(entry.name, entry.attributes + (presence ?? [])) }

        func selected(_ selection: AttributeSelection, typesOnly: Bool) -> LDAPEntry {
            var result = LDAPEntry(entry.name)
            for var attribute in entry.attributes + (presence ?? []) {
                let isOperational = EmbeddedTree.operational.contains(attribute.description.lowercased())
                let isPresence = PresenceAttributes.isPresence(attribute.description) && selection.names(class: PresenceAttributes.objectClass)
                guard isPresence || (isOperational ? selection.includesOperational(attribute.description) : selection.includes(attribute.description)) else { continue }
                if attribute.description == "objectClass", presence != nil { attribute.values.append(Array(PresenceAttributes.objectClass.utf8)) }
                if typesOnly { attribute.values = [] }
                result.attributes.append(attribute)
            }
            return result
        }
    }

    private func withPresence(_ candidates: [Candidate], for viewer: PresenceViewer, _ view: any PresenceSource) async -> [Candidate] {
        let unknown = candidates.indices.filter { candidates[$0].address != nil && candidates[$0].presence == nil }
        let presences = await view.presence(of: unknown.compactMap { candidates[$0].address }, for: viewer)
        var candidates = candidates
        for (index, presence) in zip(unknown, presences) { candidates[index].presence = presence.map(PresenceAttributes.attributes) }
        return candidates
    }

    /// Every entry in scope that the viewer may see, people in the order of their addresses behind all others.
    ///
    /// - Throws: what the search is answered with.
    private func candidates(_ request: SearchRequest, _ viewer: PresenceViewer) async throws(LDAPResult) -> [Candidate] {
        let base: DistinguishedName
        do { base = try DistinguishedName(request.base) } catch { throw LDAPResult(.invalidDNSyntax) }
        if base == EmbeddedTree.subschema { return request.scope == .singleLevel ? [] : [Candidate(entry: EmbeddedTree.subschemaEntry())] }
        let domains = tree.visibleDomains(to: viewer)
        guard !domains.isEmpty else { throw LDAPResult(.insufficientAccessRights, "bind first") }
        var all: [(DistinguishedName, Candidate)] = []
        for domain in domains {
            all.append((tree.suffix(of: domain), Candidate(entry: tree.container(domain))))
            all.append((tree.people(of: domain), Candidate(entry: tree.peopleContainer(domain))))
            for person in try await read(domain) {
                all.append((tree.name(of: person.address), Candidate(entry: person.entry, address: person.address)))
            }
        }
        guard base == .root || all.contains(where: { $0.0 == base }) else { throw LDAPResult(.noSuchObject) }
        return all.filter { $0.0.isInScope(request.scope, of: base) }.map(\.1)
    }

    private func read(_ domain: BareJID) async throws(LDAPResult) -> [EmbeddedPerson] {
        do throws(EmbeddedPeople.Failure) {
            return try await people.people(of: domain)
        } catch {
            switch error {
            case .tooMany: throw LDAPResult(.adminLimitExceeded, "there are more accounts than are searched")
            case .unavailable: throw LDAPResult(.unavailable)
            }
        }
    }

    /// RFC 2696 §3: a cookie is the name of the entry that was given last, so that nothing is kept between two pages.
    ///
    /// - Returns: the entries, where it goes on, and whether there were more than may be given at once.
    static func page(
        _ entries: [Candidate], _ request: SearchRequest, _ paging: PagedResultsControl?
    ) -> ([Candidate], cookie: [UInt8], isCut: Bool) {
        let limit = request.sizeLimit == 0 ? Int.max : Int(request.sizeLimit)
        guard let paging else {
            let count = min(limit, entriesMax)
            return (Array(entries.prefix(count)), [], entries.count > count)
        }
        var rest = entries[...]
        if !paging.cookie.isEmpty, let last = entries.firstIndex(where: { Array($0.entry.name.utf8) == paging.cookie }) { rest = entries[(last + 1)...] }
        let count = min(Int(paging.size), entriesMax, limit)
        let page = Array(rest.prefix(count))
        // A page of no entries asks for nothing more.
        guard let last = page.last, rest.count > page.count, count < limit else { return (page, [], rest.count > page.count && count == limit) }
        return (page, Array(last.entry.name.utf8), false)
    }

    private func compared(_ request: CompareRequest, _ viewer: PresenceViewer, _ view: any PresenceSource) async -> LDAPResult {
        let search = SearchRequest(request.name, .baseObject, .present("objectClass"))
        let candidates: [Candidate]
        do throws(LDAPResult) { candidates = try await self.candidates(search, viewer) } catch { return error }
        guard let candidate = await withPresence(candidates, for: viewer, view).first else { return LDAPResult(.noSuchObject) }
        guard LDAPFilter.present(request.attribute).truth(of: candidate.whole) == .holds else { return LDAPResult(.noSuchAttribute) }
        switch LDAPFilter.equality(request.attribute, request.value).truth(of: candidate.whole) {
        case .holds: return LDAPResult(.compareTrue)
        case .fails: return LDAPResult(.compareFalse)
        case .undefined: return LDAPResult(.invalidAttributeSyntax)
        }
    }
}

/// How many searches are under way: each goes through all accounts, on threads that others need as well.
private final class SearchCount: Sendable {
    // Asked by tasks on whatever threads.
    private let count = Atomic<Int>(0)

    func begin(atMost max: Int) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= max { return true }
        end()
        return false
    }

    func end() { count.subtract(1, ordering: .relaxed) }
}
