extension LoopMailbox {
    /// Gives the loop the domains of a new configuration, between two batches of stanzas.
    ///
    /// - Parameter done: runs on the loop, once it decides by them.
    package func replaceHosts(_ hosts: HostTable, _ done: @escaping @Sendable () -> Void) {
        run { context in
            context.hosts = hosts
            done()
        }
    }
}
