import MartletCore

/// What is to be done where a roster and its copy in a directory are not the same. Pure.
///
/// The roster is what counts: the copy follows it, and what somebody else changes in the copy is taken over. Where both have changed, the item's name
/// and groups are as they were set last, and what there is between the two accounts is as the roster has it, since the contact was told so. A contact
/// is lost only by who deletes the entry: an edit that takes something away between the two is put right.
package enum RosterMerge {
    /// What is known of a change of the roster.
    package enum Noted: Hashable, Sendable {
        /// Whatever the roster has the directory had: what differs is an edit there.
        case nothing
        /// The roster has changed at that time, in milliseconds since 1970, and the directory was not told yet.
        case changed(Int64)
        /// The two are put together for the first time.
        case joining
    }

    package enum Verdict: Hashable, Sendable {
        case settled
        /// The directory is to have this; `nil`: no entry.
        case write(CopiedRosterItem?)
        /// The roster is to have this.
        case adopt(CopiedRosterItem)
        /// The roster is to have no such item.
        case remove
    }

    /// - Parameter edited: when somebody else changed the entry, if that was not dealt with.
    package static func verdict(_ item: CopiedRosterItem?, copy: CopiedRosterItem?, edited: Int64?, _ noted: Noted) -> Verdict {
        if item == copy { return .settled }
        switch (item, copy) {
        case (nil, nil): return .settled
        case (let item?, nil): return noted == .nothing ? .remove : .write(item)
        case (nil, let copy?):
            guard case .changed(let time) = noted else { return .adopt(copy) }
            guard edited ?? .min > time, copy.state.isInRoster else { return .write(nil) }
            // Whom the user has removed sees nothing of him again, unless he is let by the user or by another edit.
            return .adopt(CopiedRosterItem(name: copy.name, groups: copy.groups, state: SubscriptionState(isInRoster: true)))
        case (let item?, let copy?):
            let united = united(item, copy, edited, noted)
            return united == item ? .write(item) : .adopt(united)
        }
    }

    private static func united(_ item: CopiedRosterItem, _ copy: CopiedRosterItem, _ edited: Int64?, _ noted: Noted) -> CopiedRosterItem {
        switch noted {
        case .nothing: CopiedRosterItem(name: copy.name, groups: copy.groups, state: item.state.joined(with: copy.state))
        case .changed(let time):
            edited ?? .min <= time ? item : CopiedRosterItem(name: copy.name, groups: copy.groups, state: item.state)
        case .joining:
            CopiedRosterItem(
                name: item.name ?? copy.name, groups: item.groups.isEmpty ? copy.groups : item.groups, state: item.state.joined(with: copy.state))
        }
    }
}
