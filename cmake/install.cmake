# Component `sdk`: library, headers, CMake package and command for this machine. Component `portable`: the command with
# the libraries that another machine may lack, in one folder that can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# $ORIGIN: the installed tree may be moved.
set_target_properties(pando_lib PROPERTIES INSTALL_RPATH "$ORIGIN")
set_target_properties(pando PROPERTIES INSTALL_RPATH "$ORIGIN/../lib;$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

install(TARGETS pando_lib EXPORT pandoTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk)
install(TARGETS pando RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT sdk)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pando DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sdk)
install(EXPORT pandoTargets NAMESPACE pando:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pando COMPONENT sdk)
file(WRITE ${PROJECT_BINARY_DIR}/pandoConfig.cmake "include(\"\${CMAKE_CURRENT_LIST_DIR}/pandoTargets.cmake\")\n")
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pandoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pandoConfig.cmake ${PROJECT_BINARY_DIR}/pandoConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pando COMPONENT sdk)

# glibc is the machine's own: its parts must fit each other and the kernel.
set(glibc "^ld-linux.*|^lib(c|m|dl|rt|pthread)\\.so.*")
install(TARGETS pando pando_lib RUNTIME_DEPENDENCY_SET pando_needs
        RUNTIME DESTINATION bin COMPONENT portable EXCLUDE_FROM_ALL
        LIBRARY DESTINATION lib COMPONENT portable EXCLUDE_FROM_ALL NAMELINK_SKIP)
install(RUNTIME_DEPENDENCY_SET pando_needs PRE_EXCLUDE_REGEXES ${glibc} POST_EXCLUDE_REGEXES "/libpando\\.so.*"
        LIBRARY DESTINATION lib COMPONENT portable EXCLUDE_FROM_ALL)
