package import Logging
package import MartletCore
import MartletLDAP
package import MartletXMPP
import Synchronization

/// Says of the people of directories what their cards have of them (XEP-0054), and changes it there in their names.
///
/// It is made before there are directories: a domain is added when its directory is followed. A lock, because sources are asked by whatever loop; it is held
/// for a look only.
package final class ProfileBook: ProfileSource {
    fileprivate struct Directory {
        let people: PeopleDirectory
        let settings: ProfileSettings
        let entries: any PersonalEntries
        let log: Logger
    }

    /// An entry as somebody has just changed it, until the directory's feed says something of it.
    private struct Change {
        let before: MirroredEntry
        let after: MirroredEntry
    }

    private struct State {
        var directories: [BareJID: Directory] = [:]
        var changes: [BareJID: Change] = [:]
        /// Whose pictures could not be had.
        var lacking: Set<BareJID> = []
    }

    /// Changes that are remembered until the feed knows them.
    static let changesMax = 1_024

    private let state = Mutex(State())

    package init() {}

    /// - Parameter entries: of the directory, for reading and changing single ones.
    package func add(_ domain: BareJID, _ people: PeopleDirectory, _ settings: ProfileSettings, _ entries: any PersonalEntries, log: Logger) {
        state.withLock { $0.directories[domain] = Directory(people: people, settings: settings, entries: entries, log: log) }
    }

    private func directory(of account: BareJID) -> Directory? { state.withLock { $0.directories[account.domain] } }

    // MARK: What it says

    package func profile(of account: BareJID) -> Profile? {
        guard let directory = directory(of: account), directory.settings.saysAnything, let (uuid, entry) = directory.people.entry(of: account) else { return nil }
        return directory.profile(of: account, uuid, latest(entry, of: account))
    }

    /// Whether there is an entry of somebody, whatever may be said of it.
    func knows(_ account: BareJID) -> Bool { directory(of: account)?.people.entry(of: account) != nil }

    private func latest(_ entry: MirroredEntry, of account: BareJID) -> MirroredEntry {
        state.withLock { state in
            guard let change = state.changes[account] else { return entry }
            if change.before == entry { return change.after }
            state.changes[account] = nil
            return entry
        }
    }

    package func picture(_ digest: String, of account: BareJID) async -> [UInt8]? {
        guard let directory = directory(of: account), let (_, entry) = directory.people.entry(of: account) else { return nil }
        do throws(DirectoryFailure) {
            let pictures = try await directory.entries.values(of: ProfileAttribute.jpegPhoto.rawValue, at: entry.name)
            // If it is another one by now, the feed says so.
            return pictures.first { PhotoDigest($0)?.hexadecimal == digest }
        } catch {
            state.withLock { _ = $0.lacking.insert(account) }
            return nil
        }
    }

    /// Whose pictures could not be had since this was asked last.
    func takeLacking(at domain: BareJID) -> [BareJID] {
        state.withLock { state in
            let lacking = state.lacking.filter { $0.domain == domain }
            state.lacking.subtract(lacking)
            return Array(lacking)
        }
    }

    // MARK: What is changed

    package func change(_ account: BareJID, _ changes: [ProfileChange]) async throws(StanzaError) -> Profile {
        guard let directory = directory(of: account), let (uuid, mirrored) = directory.people.entry(of: account) else { throw .itemNotFound() }
        let entry = latest(mirrored, of: account)
        let wanted = try ProfileModification(changes, EntryReader(entry, directory.people.attributes), directory.settings)
        guard !wanted.changes.isEmpty else { return directory.profile(of: account, uuid, entry) }
        let changed: LDAPEntry
        do throws(DirectoryFailure) {
            let shown = PersonAttributes.profile.filter { directory.people.attributes.names.contains($0) }
            changed = try await directory.entries.modify(ModifyRequest(entry.name, wanted.changes), reading: shown)
        } catch {
            directory.log.noteIfOperatorsAffair(error, account)
            throw StanzaError(error, about: "card")
        }
        guard let after = MirroredEntry(changed, directory.people.attributes) else { throw .resourceConstraint("the entry is too long") }
        state.withLock { if $0.changes.count < Self.changesMax { $0.changes[account] = Change(before: mirrored, after: after) } }
        return directory.profile(of: account, uuid, after)
    }
}

extension ProfileBook.Directory {
    fileprivate func profile(of account: BareJID, _ uuid: EntryUUID, _ entry: MirroredEntry) -> Profile {
        PersonProfile(uuid, EntryReader(entry, people.attributes)).profile(of: account, settings)
    }
}
