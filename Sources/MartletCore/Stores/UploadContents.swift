import MartletXMPP

/// What an ``InMemoryStore`` knows of uploaded files.
package struct UploadContents: Sendable {
    /// As they were before a submit.
    package typealias Before = [String: StoredUpload?]

    private var uploads: [String: StoredUpload] = [:]

    package subscript(name: String) -> StoredUpload? { uploads[name] }

    /// - Parameter exists: whether there is such an account.
    package mutating func apply(_ change: UploadChange, exists: (AccountID) -> Bool, _ before: inout Before) throws(StoreError) {
        switch change {
        case .open(let upload):
            guard exists(upload.account) else { throw .constraint("no account has the number \(upload.account.raw)") }
            guard uploads[upload.name] == nil else { throw .constraint("the name is taken: \(upload.name)") }
            set(upload, as: upload.name, &before)
        case .keep(let name, let since, let sha256):
            guard var upload = uploads[name], !upload.isKept else { throw .constraint("there is no open slot \(name)") }
            upload.state = .kept(since: since, sha256: sha256)
            set(upload, as: name, &before)
        case .remove(let names):
            for name in names { set(nil, as: name, &before) }
        case .expire(let now, let keptSince):
            for upload in uploads.values where upload.hasEnded(now: now, keptSince: keptSince) { set(nil, as: upload.name, &before) }
        }
    }

    package mutating func removeAll(of account: AccountID, _ before: inout Before) {
        for upload in uploads.values where upload.account == account { set(nil, as: upload.name, &before) }
    }

    package mutating func restore(_ before: Before) {
        for (name, upload) in before { uploads[name] = upload }
    }

    private mutating func set(_ upload: StoredUpload?, as name: String, _ before: inout Before) {
        if before[name] == nil { before[name] = .some(uploads[name]) }
        uploads[name] = upload
    }

    package func uploads(of account: AccountID?, after: String, limit: Int) -> [StoredUpload] {
        let chosen = uploads.values.filter { (account == nil || $0.account == account) && $0.name > after }
        return Array(chosen.sorted { $0.name < $1.name }.prefix(max(0, limit)))
    }

    package var owners: [AccountID] { Array(Set(uploads.values.map(\.account))) }

    package func usage(of scope: UploadScope, now: Int64, since: Int64) -> UploadUsage {
        var usage = UploadUsage()
        for upload in uploads.values where upload.isIn(scope) { usage.add(upload, now: now, since: since) }
        return usage
    }
}

extension StoredUpload {
    fileprivate func isIn(_ scope: UploadScope) -> Bool {
        switch scope {
        case .account(let id): account == id
        case .domain(let domain): owner.domainpart == domain
        }
    }

    fileprivate func hasEnded(now: Int64, keptSince: [UploadPurpose: Int64]) -> Bool {
        switch state {
        case .open(_, let ends): ends <= now
        case .kept(let since, _): expireBefore.map { $0 <= now } ?? false || keptSince[purpose].map { since <= $0 } ?? false
        }
    }
}

extension UploadUsage {
    fileprivate mutating func add(_ upload: StoredUpload, now: Int64, since: Int64) {
        if case .open(_, let ends) = upload.state {
            guard ends > now else { return }
            openSlots += 1
            firstEnd = min(firstEnd ?? ends, ends)
        } else {
            files += 1
        }
        bytes += upload.bytes
        guard upload.created >= since else { return }
        recentBytes += upload.bytes
        firstRecent = min(firstRecent ?? upload.created, upload.created)
    }
}
