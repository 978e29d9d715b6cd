import MartletCore
package import MartletLDAP

/// Which entries of a directory are followed, in the words of the protocol: what is asked, and what the answers mean.
///
/// An answer that cannot be understood ends the search as one that failed: to pass it over would be to say that an entry is gone.
package struct FeedQuestion: Hashable, Sendable {
    package var base: String
    package var scope: SearchRequest.Scope
    package var filter: LDAPFilter
    /// Those that are mirrored.
    package var attributes: [String]
    /// The attribute that names an entry for as long as it exists, where no control does.
    package var identifier: String
    package var detection: ChangeDetection

    package init(
        base: String, scope: SearchRequest.Scope = .wholeSubtree, filter: LDAPFilter, attributes: [String], identifier: String, detection: ChangeDetection
    ) {
        self.base = base
        self.scope = scope
        self.filter = filter
        self.attributes = attributes
        self.identifier = identifier
        self.detection = detection
    }

    /// The attribute that a server names its entries by.
    package static func identifier(of server: RootDSE) -> String {
        if server.isActiveDirectory { return "objectGUID" }
        return server.vendorName?.hasPrefix("389") == true ? "nsUniqueId" : "entryUUID"
    }

    // MARK: Asking

    package struct Search: Hashable, Sendable {
        package var request: SearchRequest
        package var controls: [LDAPControl]
        /// Never ends by itself.
        package var isPersistent: Bool
        /// Is to be asked in pages.
        package var isPaged: Bool { !isPersistent }
    }

    package func search(_ search: FeedSearch) -> Search {
        switch search {
        case .contentSync(let cookie):
            let control = SyncRequestControl(.refreshAndPersist, cookie: cookie).control(isCritical: true)
            return Search(request: request(filter, attributes), controls: [control], isPersistent: true)
        case .persistentSearch:
            let control = PersistentSearchControl(changesOnly: true).control(isCritical: true)
            return Search(request: request(filter, attributes + [identifier]), controls: [control], isPersistent: true)
        case .persistentSearchOfOthers:
            let control = PersistentSearchControl([.modify, .modifyDN], changesOnly: true).control(isCritical: true)
            return Search(request: request(.not(filter), [identifier]), controls: [control], isPersistent: true)
        case .everything: return Search(request: request(filter, attributes + [identifier, markAttribute]), controls: [], isPersistent: false)
        case .changed(let since):
            let changed = LDAPFilter.greaterOrEqual(markAttribute, Array(Self.text(since).utf8))
            return Search(request: request(.and([filter, changed]), attributes + [identifier, markAttribute]), controls: [], isPersistent: false)
        case .identifiers: return Search(request: request(filter, [identifier]), controls: [], isPersistent: false)
        }
    }

    private func request(_ filter: LDAPFilter, _ attributes: [String]) -> SearchRequest { SearchRequest(base, scope, filter, attributes: attributes) }

    private var markAttribute: String { detection == .polling(.updateSequenceNumber) ? "uSNChanged" : "modifyTimestamp" }

    /// Servers keep whole seconds, and not all compare others.
    private static func text(_ mark: ChangeMark) -> String {
        switch mark {
        case .modifyTimestamp(let milliseconds): GeneralizedTime.text(milliseconds: milliseconds / 1_000 * 1_000)
        case .updateSequenceNumber(let number): String(number)
        }
    }

    // MARK: Understanding

    /// - Returns: `nil` for what says nothing to a feed.
    package func message(_ item: SearchItem, of search: FeedSearch) -> FeedMessage? {
        switch search {
        case .contentSync: sync(item).map(FeedMessage.sync)
        case .persistentSearch: change(item).map(FeedMessage.persistent)
        case .persistentSearchOfOthers: otherChange(item).map(FeedMessage.persistent)
        case .everything, .changed, .identifiers: detection == .persistentSearch ? read(item, search).map(FeedMessage.persistent) : polled(item, search).map(FeedMessage.polled)
        }
    }

    private func sync(_ item: SearchItem) -> SyncMessage? {
        do throws(LDAPFault) {
            switch item {
            case .entry(let entry, let controls):
                guard let control = try controls.first(of: SyncStateControl.self), let uuid = EntryUUID(control.uuid) else { return .result(.protocolError) }
                return .entry(entry, SyncMessage.EntryState(control.state), uuid, cookie: control.cookie)
            case .intermediate(let response, _): return try SyncInfo(response).map(SyncMessage.init)
            case .done(let result, let controls):
                let done = try controls.first(of: SyncDoneControl.self)
                return .result(result.code, done: done.map { SyncDone(cookie: $0.cookie, refreshDeletes: $0.refreshDeletes) })
            }
        } catch {
            return .result(.protocolError)
        }
    }

    private func change(_ item: SearchItem) -> PersistentSearchMessage? {
        switch item {
        case .entry(let entry, let controls):
            do throws(LDAPFault) {
                let change = try controls.first(of: EntryChangeControl.self)
                return .change(entry, uuid(entry), isDeletion: change?.change == .delete)
            } catch {
                return .changesEnded(.protocolError)
            }
        case .intermediate: return nil
        case .done(let result, _): return .changesEnded(result.code)
        }
    }

    /// A server that allows no second search of that kind says so here; then only the sweeps notice.
    private func otherChange(_ item: SearchItem) -> PersistentSearchMessage? { if case .entry = item { .otherChange } else { nil } }

    private func read(_ item: SearchItem, _ search: FeedSearch) -> PersistentSearchMessage? {
        switch item {
        case .entry(let entry, _):
            guard let uuid = uuid(entry) else { return .result(.noSuchAttribute) }
            return search == .identifiers ? .identifier(uuid) : .entry(entry, uuid)
        case .intermediate: return nil
        case .done(let result, _): return .result(result.code)
        }
    }

    private func polled(_ item: SearchItem, _ search: FeedSearch) -> PolledMessage? {
        switch item {
        case .entry(let entry, _):
            guard let uuid = uuid(entry) else { return .result(.noSuchAttribute) }
            return search == .identifiers ? .identifier(uuid) : .entry(entry, uuid, changed: mark(entry))
        case .intermediate: return nil
        case .done(let result, _): return .result(result.code)
        }
    }

    /// 16 octets, or their text.
    private func uuid(_ entry: LDAPEntry) -> EntryUUID? {
        let wanted = identifier.lowercased()
        guard let value = entry.attributes.first(where: { $0.description.lowercased() == wanted })?.values.first else { return nil }
        return EntryUUID(value) ?? String(validating: value, as: UTF8.self).flatMap { EntryUUID(text: $0) }
    }

    private func mark(_ entry: LDAPEntry) -> Int64? {
        let text = entry.strings(markAttribute).first
        return detection == .polling(.updateSequenceNumber) ? text.flatMap { Int64($0) } : text.flatMap { GeneralizedTime.milliseconds(of: $0) }
    }
}

extension SyncMessage.EntryState {
    fileprivate init(_ state: SyncStateControl.State) {
        switch state {
        case .present: self = .present
        case .add: self = .add
        case .modify: self = .modify
        case .delete: self = .delete
        }
    }
}

extension SyncMessage {
    /// UUIDs of another length are none of an entry's; the codec lets none through.
    fileprivate init(_ info: SyncInfo) {
        switch info {
        case .newCookie(let cookie): self = .newCookie(cookie)
        case .refreshDelete(let cookie, let isDone): self = .refreshDelete(cookie: cookie, isDone: isDone)
        case .refreshPresent(let cookie, let isDone): self = .refreshPresent(cookie: cookie, isDone: isDone)
        case .idSet(let cookie, let refreshDeletes, let uuids):
            self = .identifiers(uuids.compactMap { EntryUUID($0) }, areGone: refreshDeletes, cookie: cookie)
        }
    }
}
