import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

enum FileStoreKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, folder
    var testDescription: String { rawValue }
}

private let key = FileKey(owner: AccountID(raw: 7), name: "00112233445566778899aabbccddeeff")
private let other = FileKey(owner: AccountID(raw: 8), name: "ffeeddccbbaa99887766554433221100")

extension FileStore {
    func begin(_ key: FileKey, bytes: Int) async throws -> any FileWriting {
        try await withCheckedContinuation { continuation in write(key, bytes: bytes) { continuation.resume(returning: $0) } }.get()
    }

    func put(_ key: FileKey, _ pieces: [String]) async throws -> [UInt8] {
        let writing = try await begin(key, bytes: pieces.reduce(0) { $0 + $1.utf8.count })
        for piece in pieces { #expect(await writing.add(piece) == nil) }
        return try await writing.finished().get()
    }

    func get(_ key: FileKey, _ range: Range<Int>) async throws -> String {
        let reading = try await withCheckedContinuation { continuation in read(key, range) { continuation.resume(returning: $0) } }.get()
        defer { reading.close() }
        var text = ""
        while case let piece = try await withCheckedContinuation({ next in reading.next { next.resume(returning: $0) } }).get(), piece.readableBytes > 0 {
            text += String(buffer: piece)
        }
        return text
    }
}

extension FileWriting {
    func add(_ text: String) async -> FileStoreError? {
        await withCheckedContinuation { continuation in append(ByteBuffer(string: text)) { continuation.resume(returning: $0) } }
    }

    func finished() async -> Result<[UInt8], FileStoreError> {
        await withCheckedContinuation { continuation in finish { continuation.resume(returning: $0) } }
    }
}

/// What every place for files has to do, asked of each.
@Suite("The contract of a file store (P12)")
struct FileStoreTests {
    private func with(_ kind: FileStoreKind, _ body: (any FileStore) async throws -> Void) async throws {
        let folder = TemporaryFolder()
        let store: any FileStore =
            switch kind {
            case .memory: InMemoryFileStore()
            case .folder: FolderFileStore(folder: folder.path + "/uploads")
            }
        defer { store.close() }
        try await body(store)
        withExtendedLifetime(folder) {}
    }

    @Test("what was put there is there as a whole and in parts, with its digest", arguments: FileStoreKind.allCases)
    func whole(_ kind: FileStoreKind) async throws {
        try await with(kind) { store in
            let digest = try await store.put(key, ["But, soft! ", "what light", ""])
            #expect(digest == ScramHash.sha256.digest(Array("But, soft! what light".utf8)))
            #expect(try await store.get(key, 0..<21) == "But, soft! what light")
            #expect(try await store.get(key, 5..<10) == "soft!")
            #expect(try await store.size(of: key) == 21)
            #expect(try await store.files(of: key.owner) == [key.name: 21])
        }
    }

    @Test("nobody sees a file before it is finished, nor one that was given up", arguments: FileStoreKind.allCases)
    func unfinished(_ kind: FileStoreKind) async throws {
        try await with(kind) { store in
            let writing = try await store.begin(key, bytes: 5)
            #expect(await writing.add("But, ") == nil)
            #expect(try await store.size(of: key) == nil)
            await #expect(throws: FileStoreError.missing) { try await store.get(key, 0..<1) }
            writing.abandon()
            #expect(try await store.files(of: key.owner).isEmpty)
            #expect(try await store.put(key, ["soft!"]).count == 32)
        }
    }

    @Test("a file that is shorter than was said is none", arguments: FileStoreKind.allCases)
    func tooShort(_ kind: FileStoreKind) async throws {
        try await with(kind) { store in
            let writing = try await store.begin(key, bytes: 6)
            #expect(await writing.add("soft!") == nil)
            guard case .failure = await writing.finished() else { return #expect(Bool(false), "it was finished") }
            #expect(try await store.size(of: key) == nil)
        }
    }

    @Test("files are listed by their owners, and removed one by one", arguments: FileStoreKind.allCases)
    func lists(_ kind: FileStoreKind) async throws {
        try await with(kind) { store in
            #expect(try await store.owners().isEmpty)
            #expect(try await store.files(of: key.owner).isEmpty)
            _ = try await store.put(key, ["a"])
            _ = try await store.put(other, ["bc"])
            #expect(Set(try await store.owners()) == [key.owner, other.owner])
            try await store.remove(key)
            try await store.remove(key)
            #expect(try await store.owners() == [other.owner])
            #expect(try await store.files(of: other.owner) == [other.name: 2])
            await #expect(throws: FileStoreError.missing) { try await store.get(other, 0..<3) }
        }
    }
}

@Suite("Files in a folder")
struct FolderFileStoreTests {
    private let folder = TemporaryFolder()
    private var path: String { folder.path + "/uploads" }

    @Test("what a server that died has left is removed, but not what is being written")
    func remains() async throws {
        let dead = FolderFileStore(folder: path)
        let lost = try await dead.begin(key, bytes: 5)
        #expect(await lost.add("But, ") == nil)
        let store = FolderFileStore(folder: path)
        let writing = try await store.begin(other, bytes: 5)
        #expect(files(in: path + "/incoming") == [key.name, other.name])
        #expect(try await store.removeRemains() == 1)
        #expect(files(in: path + "/incoming") == [other.name])
        #expect(await writing.add("soft!") == nil)
        #expect(try await writing.finished().get().count == 32)
        #expect(files(in: path + "/incoming").isEmpty && files(in: path + "/8") == [other.name])
        store.close()
        dead.close()
    }

    @Test("more than was said is not taken, and a name of somebody else's making becomes no path")
    func faults() async throws {
        let store = FolderFileStore(folder: path)
        let writing = try await store.begin(key, bytes: 3)
        #expect(await writing.add("soft") != nil)
        for name in ["../martlet.db", "a", ""] {
            await #expect(throws: FileStoreError.self) { try await store.begin(FileKey(owner: key.owner, name: name), bytes: 1) }
            await #expect(throws: FileStoreError.self) { try await store.get(FileKey(owner: key.owner, name: name), 0..<1) }
        }
        await #expect(throws: FileStoreError.self) { try await store.begin(key, bytes: 3) }
        store.close()
    }

    @Test("folders and files are the server's alone")
    func permissions() async throws {
        let store = FolderFileStore(folder: path)
        _ = try await store.put(key, ["a"])
        for folder in [path, path + "/incoming", path + "/7"] { #expect(MartletStorageTests.permissions(folder) == 0o700) }
        #expect(MartletStorageTests.permissions(path + "/7/" + key.name) == 0o600)
        store.close()
    }

    @Test("what is longer than a piece comes in pieces")
    func pieces() async throws {
        let store = FolderFileStore(folder: path)
        let text = String(repeating: "0123456789", count: FolderFileStore.pieceBytes / 5)
        _ = try await store.put(key, [text])
        #expect(try await store.get(key, 0..<text.utf8.count) == text)
        #expect(try await store.get(key, FolderFileStore.pieceBytes - 1..<FolderFileStore.pieceBytes + 2).count == 3)
        store.close()
    }
}

@Suite("Uploads and their files")
struct UploadKeepingTests {
    private func uploads(_ body: (Uploads, InMemoryStore, InMemoryFileStore, AccountID) async throws -> Void) async throws {
        let (store, files) = (InMemoryStore(time: FixedTime()), InMemoryFileStore())
        let id = try await store.create(juliet)
        try await body(Uploads(store: store, files: files, time: FixedTime()), store, files, id)
    }

    private func upload(_ uploads: Uploads, _ text: String = "But, soft!") async throws -> StoredUpload {
        let slot = try await uploads.slot(for: SlotRequest(fileName: "a.png", bytes: text.utf8.count), of: juliet)
        let file = try await uploads.begin(UploadAttempt(name: slot.name, token: slot.token, bytes: text.utf8.count, type: nil))
        #expect(await file.writing.add(text) == nil)
        try await uploads.finish(file)
        return try await uploads.file(named: slot.name)
    }

    @Test("a file is given once it is kept, and its slot is used up")
    func life() async throws {
        try await uploads { uploads, _, files, _ in
            let slot = try await uploads.slot(for: SlotRequest(fileName: "a.png", bytes: 5), of: juliet)
            let attempt = UploadAttempt(name: slot.name, token: slot.token, bytes: 5, type: nil)
            let file = try await uploads.begin(attempt)
            await #expect(throws: TransferRefusal.conflict) { try await uploads.begin(attempt) }
            #expect(await file.writing.add("soft!") == nil)
            await #expect(throws: TransferRefusal.notFound) { try await uploads.file(named: slot.name) }
            try await uploads.finish(file)
            #expect(try await uploads.file(named: slot.name).bytes == 5)
            await #expect(throws: TransferRefusal.conflict) { try await uploads.begin(attempt) }
            #expect(uploads.counters.uploads == 1 && uploads.counters.uploadedBytes == 5 && uploads.counters.openUploads == 0)
            withExtendedLifetime(files) {}
        }
    }

    @Test("an attempt is for its own slot: token, length and type (§7)")
    func attempts() async throws {
        try await uploads { uploads, _, _, _ in
            let slot = try await uploads.slot(for: SlotRequest(fileName: "a.png", bytes: 5, type: MediaType("image/png")), of: juliet)
            func refusal(_ change: (inout UploadAttempt) -> Void) async -> TransferRefusal? {
                var attempt = UploadAttempt(name: slot.name, token: slot.token, bytes: 5, type: MediaType("image/png; q=1"))
                change(&attempt)
                do throws(TransferRefusal) { uploads.abandon(try await uploads.begin(attempt)) } catch { return error }
                return nil
            }
            #expect(await refusal { _ in } == nil)
            #expect(await refusal { $0.type = nil } == nil)
            #expect(await refusal { $0.token = "" } == .forbidden)
            #expect(await refusal { $0.token = String(slot.token.dropLast()) } == .forbidden)
            #expect(await refusal { $0.bytes = 4 } == .wrongLength)
            #expect(await refusal { $0.type = MediaType("image/gif") } == .wrongType)
            #expect(await refusal { $0.name = key.name } == .notFound)
        }
    }

    @Test("bytes that nothing speaks for go, and files that are not there are found")
    func sweep() async throws {
        try await uploads { uploads, store, files, id in
            let (kept, lost) = (try await upload(uploads), try await upload(uploads))
            files.set(lost.key, ByteBuffer(string: "But,"))
            files.set(FileKey(owner: id, name: key.name), ByteBuffer(string: "a"))
            files.set(other, ByteBuffer(string: "b"))
            let sweep = try await uploads.sweep()
            #expect(sweep.removedFiles == 2 && sweep.missing == [lost.name] && sweep.keptFiles == 2 && sweep.keptBytes == 20)
            #expect(try await files.files(of: id).count == 2)
            #expect(try await files.owners() == [id])
            try await uploads.remove([kept])
            #expect(try await files.files(of: id) == [lost.name: 4])
            await #expect(throws: TransferRefusal.notFound) { try await uploads.file(named: kept.name) }
            try await store.delete(juliet)
            uploads.accountDeleted(id, executor: nil)
            await uploads.removal(of: id)
            #expect(try await files.owners().isEmpty)
        }
    }

    @Test("a slot whose account goes while the file comes leaves nothing")
    func deletedAccount() async throws {
        try await uploads { uploads, store, files, _ in
            let slot = try await uploads.slot(for: SlotRequest(fileName: "a", bytes: 5), of: juliet)
            let file = try await uploads.begin(UploadAttempt(name: slot.name, token: slot.token, bytes: 5, type: nil))
            #expect(await file.writing.add("soft!") == nil)
            try await store.delete(juliet)
            await #expect(throws: TransferRefusal.notFound) { try await uploads.finish(file) }
            #expect(try await files.owners().isEmpty)
        }
    }
}
