package import NIOCore

/// Where a file's bytes are: with those of its owner, under a name that nothing else has.
package struct FileKey: Hashable, Sendable {
    package var owner: AccountID
    /// 32 hexadecimal digits.
    package var name: String

    package init(owner: AccountID, name: String) {
        self.owner = owner
        self.name = name
    }
}

/// Why bytes were not kept or not given.
package enum FileStoreError: Error, Hashable, Sendable {
    /// There is no such file, or less of it than there should be.
    case missing
    /// No space.
    case full
    case failed(String)
}

/// Where the bytes of uploaded files are kept: a folder, or a service elsewhere. It knows names and sizes; what they mean is in the ``Store``.
///
/// A file is there as a whole or not at all, whenever the machine fails. Completions run on some thread, once; callers wait for one before they
/// ask the same file for more, so that what is in memory of each file is one piece.
package protocol FileStore: Sendable {
    /// Makes ready to take a file. Nobody sees any of it before it is finished.
    ///
    /// - Parameter bytes: how long it will be.
    func write(_ key: FileKey, bytes: Int, _ done: @escaping @Sendable (Result<any FileWriting, FileStoreError>) -> Void)
    /// Makes ready to give a part of a file, piece by piece.
    func read(_ key: FileKey, _ range: Range<Int>, _ done: @escaping @Sendable (Result<any FileReading, FileStoreError>) -> Void)
    /// Nothing happens if there is no such file.
    func remove(_ key: FileKey) async throws(FileStoreError)
    /// In bytes; `nil` if there is no such file.
    func size(of key: FileKey) async throws(FileStoreError) -> Int?
    /// Whoever has files, in no order.
    func owners() async throws(FileStoreError) -> [AccountID]
    /// The files of an owner, with their sizes in bytes.
    func files(of owner: AccountID) async throws(FileStoreError) -> [String: Int]
    /// Removes what is left of files that were never finished and that nobody is writing. - Returns: how many there were.
    func removeRemains() async throws(FileStoreError) -> Int
    /// Where it is, for the operator.
    var place: String { get }
    /// Ends its threads. Nothing may be asked any more.
    func close()
}

/// A file that is being written. One call at a time.
package protocol FileWriting: Sendable {
    /// Adds bytes. `done` is told why it could not, if it could not.
    func append(_ piece: ByteBuffer, _ done: @escaping @Sendable (FileStoreError?) -> Void)
    /// All of it has been added: it is on disk under its name when `done` gets its SHA-256.
    func finish(_ done: @escaping @Sendable (Result<[UInt8], FileStoreError>) -> Void)
    /// Forgets what was written. May be called while another call has not completed.
    func abandon()
}

/// A file that is being read. One call at a time.
package protocol FileReading: Sendable {
    /// The next piece, of some 100 KiB at most; empty behind the last.
    func next(_ done: @escaping @Sendable (Result<ByteBuffer, FileStoreError>) -> Void)
    /// Nothing more is wanted. May be called while `next` has not completed.
    func close()
}
