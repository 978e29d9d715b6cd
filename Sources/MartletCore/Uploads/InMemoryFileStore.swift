import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

/// The reference meaning of ``FileStore``: what the others do, without a disk. Completions run at once.
package final class InMemoryFileStore: FileStore {
    // Any thread may write; held for a dictionary's look-up.
    private let contents = NIOLockedValueBox<[FileKey: ByteBuffer]>([:])
    /// Pieces that are given, in bytes.
    private let pieceBytes: Int

    package init(pieceBytes: Int = 16) { self.pieceBytes = pieceBytes }

    package let place = "memory"
    package func close() {}

    package func write(_ key: FileKey, bytes: Int, _ done: @escaping @Sendable (Result<any FileWriting, FileStoreError>) -> Void) {
        done(.success(Writing(store: self, key: key, bytes: bytes)))
    }

    package func read(_ key: FileKey, _ range: Range<Int>, _ done: @escaping @Sendable (Result<any FileReading, FileStoreError>) -> Void) {
        guard let bytes = contents.withLockedValue({ $0[key] })?.getSlice(at: range.lowerBound, length: range.count) else {
            return done(.failure(.missing))
        }
        done(.success(Reading(bytes, pieceBytes: pieceBytes)))
    }

    package func remove(_ key: FileKey) async throws(FileStoreError) { set(key, nil) }
    package func size(of key: FileKey) async throws(FileStoreError) -> Int? { contents.withLockedValue { $0[key]?.readableBytes } }
    package func owners() async throws(FileStoreError) -> [AccountID] { Array(Set(contents.withLockedValue { $0.keys.map(\.owner) })) }

    package func files(of owner: AccountID) async throws(FileStoreError) -> [String: Int] {
        let files = contents.withLockedValue { $0.filter { $0.key.owner == owner } }
        return Dictionary(uniqueKeysWithValues: files.map { ($0.key.name, $0.value.readableBytes) })
    }

    package func removeRemains() async throws(FileStoreError) -> Int { 0 }

    /// Puts bytes there behind everybody's back, or takes them away.
    package func set(_ key: FileKey, _ bytes: ByteBuffer?) { contents.withLockedValue { $0[key] = bytes } }

    private final class Writing: FileWriting {
        private let store: InMemoryFileStore
        private let key: FileKey
        private let bytes: Int
        private let written = NIOLockedValueBox(ByteBuffer())

        init(store: InMemoryFileStore, key: FileKey, bytes: Int) { (self.store, self.key, self.bytes) = (store, key, bytes) }

        func append(_ piece: ByteBuffer, _ done: @escaping @Sendable (FileStoreError?) -> Void) {
            written.withLockedValue { _ = $0.writeImmutableBuffer(piece) }
            done(nil)
        }

        func finish(_ done: @escaping @Sendable (Result<[UInt8], FileStoreError>) -> Void) {
            let whole = written.withLockedValue { $0 }
            guard whole.readableBytes == bytes else { return done(.failure(.failed("\(whole.readableBytes) bytes were written, not \(bytes)"))) }
            store.set(key, whole)
            done(.success(ScramHash.sha256.digest(Array(buffer: whole))))
        }

        func abandon() {}
    }

    private final class Reading: FileReading {
        private let rest: NIOLockedValueBox<ByteBuffer>

        private let pieceBytes: Int

        init(_ bytes: ByteBuffer, pieceBytes: Int) {
            rest = NIOLockedValueBox(bytes)
            self.pieceBytes = pieceBytes
        }

        func next(_ done: @escaping @Sendable (Result<ByteBuffer, FileStoreError>) -> Void) {
            let piece = rest.withLockedValue { [pieceBytes] in $0.readSlice(length: min($0.readableBytes, pieceBytes)) }
            done(.success(piece ?? ByteBuffer()))
        }

        func close() {}
    }
}
