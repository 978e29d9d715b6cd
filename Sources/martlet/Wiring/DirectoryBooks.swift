import MartletCore
import MartletDirectory

/// What features ask of directories: made before there are any, since features are made first.
struct DirectoryBooks: Sendable {
    let profiles = ProfileBook()
    let passwords: PasswordBook

    init(time: any TimeSource) { passwords = PasswordBook(time: time) }
}
